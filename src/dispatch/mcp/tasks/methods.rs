//! `tasks/get`, `tasks/update` and `tasks/cancel`.

use std::rc::Rc;

use sonic_rs::{JsonValueTrait, Object, Value};
use uuid::Uuid;

use super::super::caller::Request;
use super::write_members;
use crate::delivery::Change;
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::domain::{JsonObject, McpTask, McpTaskChange, McpTaskStatus};
use crate::rpc::mcp::{self, ClientCapabilities, Era, Extras, Params};
use crate::rpc::{Condition, Fault};
use crate::store::StoreError;

/// The task that a request names, and whether its client may ask.
fn named(request: Request<'_>, params: &Params<'_>) -> Result<Uuid, Fault> {
    let extras = Extras::parse(&params.meta)?;
    if !request.capabilities(&extras).tasks {
        return Err(ClientCapabilities::missing_tasks());
    }
    let Some(id) = params.task_id.string() else {
        let message = "params.taskId must be a string";
        return Err(Fault::new(Condition::InvalidArguments, message));
    };
    Uuid::try_parse(&id).map_err(|_| unknown())
}

fn unknown() -> Fault {
    Fault::new(Condition::InvalidArguments, "Task not found")
}

fn fault_of(error: StoreError) -> Fault {
    match error {
        StoreError::NotFound { .. } => unknown(),
        error => error.into(),
    }
}

/// Answers `tasks/get`.
pub(in crate::dispatch::mcp) fn get(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let id = named(request, &Params::parse(params)?)?;
    let owner = request.caller.session.agent();
    let record = dispatcher.services.store.get_mcp_task(&owner, id);
    Ok(answer_later(request, async move {
        let record = record.await.map_err(fault_of)?;
        let mut out = Vec::new();
        mcp::begin_object(&mut out, Era::Modern);
        write_members(&mut out, &record);
        mcp::end_object(&mut out, Era::Modern);
        Ok(out)
    }))
}

/// Answers `tasks/update`: takes the answers that the task waits for, whichever they are; others
/// are ignored.
pub(in crate::dispatch::mcp) fn update(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let params = Params::parse(params)?;
    let id = named(request, &params)?;
    let responses: Option<Value> = params
        .input_responses
        .raw()
        .and_then(|raw| sonic_rs::from_str(raw).ok());
    let responses = responses.and_then(|value| value.into_object());
    let Some(responses) = responses else {
        let message = "params.inputResponses must be an object";
        return Err(Fault::new(Condition::InvalidArguments, message));
    };
    let services = Rc::clone(dispatcher.services());
    let owner = request.caller.session.agent();
    let empty = dispatcher.constants.empty(Era::Modern).to_vec();
    Ok(answer_later(request, async move {
        loop {
            let record = services.store.get_mcp_task(&owner, id).await;
            let record = record.map_err(fault_of)?;
            let Some(change) = fed(&record, &responses) else {
                return Ok(empty);
            };
            let store = &services.store;
            let updated = store.update_mcp_task(&owner, id, Some(record.version), change);
            match updated.await {
                // Somebody else was faster; look again.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(fault_of(error)),
                Ok(_) => break,
            }
        }
        services.changes.publish(&Change::McpTask { owner, id });
        services.running.speak(id);
        Ok(empty)
    }))
}

/// What the answers change about a task that waits for some of them.
fn fed(record: &McpTask, responses: &Object) -> Option<McpTaskChange> {
    let object = |text: Option<&JsonObject>| {
        let value: Option<Value> = text.and_then(|text| sonic_rs::from_str(text.as_str()).ok());
        value
            .and_then(|value| value.into_object())
            .unwrap_or_default()
    };
    if record.status != McpTaskStatus::InputRequired {
        return None;
    }
    let mut open = object(record.payload.as_ref());
    let mut inputs = object(record.inputs.as_ref());
    let mut any = false;
    for (key, response) in responses {
        if response.is_object() && open.remove(&key).is_some() {
            inputs.insert(&key, response.clone());
            any = true;
        }
    }
    let text = |object: Object| JsonObject::parse(&sonic_rs::to_string(&object).ok()?);
    any.then(|| McpTaskChange {
        status: open.is_empty().then_some(McpTaskStatus::Working),
        payload: if open.is_empty() { None } else { text(open) },
        inputs: text(inputs),
        ..McpTaskChange::default()
    })
}

/// Answers `tasks/cancel`, again and again if it is asked to.
pub(in crate::dispatch::mcp) fn cancel(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let id = named(request, &Params::parse(params)?)?;
    let services = Rc::clone(dispatcher.services());
    let owner = request.caller.session.agent();
    let empty = dispatcher.constants.empty(Era::Modern).to_vec();
    Ok(answer_later(request, async move {
        let change = McpTaskChange {
            status: Some(McpTaskStatus::Cancelled),
            ..McpTaskChange::default()
        };
        match services
            .store
            .update_mcp_task(&owner, id, None, change)
            .await
        {
            // It has ended already.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(fault_of(error)),
        }
        services.changes.publish(&Change::McpTask { owner, id });
        services.running.speak(id);
        Ok(empty)
    }))
}
