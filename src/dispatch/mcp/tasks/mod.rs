//! The tasks extension (SEP-2663): calls that go on after their answer, with records that survive
//! the server.

mod methods;

pub(super) use methods::{cancel, get, update};

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sonic_rs::Value;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::caller::Request;
use crate::delivery::{Change, Outlet, Session};
use crate::dispatch::wrapping::{Wrapping, answer_later, is_mendable, write_result};
use crate::dispatch::{Dispatcher, Reply};
use crate::domain::mcp_task::LEASE_MS;
use crate::domain::{AgentKey, JsonObject, McpTask, McpTaskChange, McpTaskStatus, NewMcpTask};
use crate::operations::{Context, Operation, Outcome, Services};
use crate::rpc::json::{self, Member};
use crate::rpc::mcp::{self, Era, Extras, META_SUBSCRIPTION};
use crate::rpc::{Condition, Fault, jsonrpc};
use crate::store::StoreError;

/// How often a client that polls is asked to.
const POLL_MS: u64 = 500;
/// Wait before the end of a task is written again, when the store does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The work of a task: the tool's result object, or what went wrong with the protocol.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>>>>;

/// A task from the inside.
#[derive(Clone)]
pub(super) struct Task {
    services: Rc<Services>,
    owner: AgentKey,
    id: Uuid,
    /// Wakes when a client has spoken.
    spoken: Arc<Notify>,
    /// Wakes the work when its record holds input.
    fed: Rc<Notify>,
}

/// True if this request may be answered by a task.
pub(super) fn may_begin(request: Request<'_>, meta: &Member<'_>) -> Result<bool, Fault> {
    Ok(request.era == Era::Modern && request.capabilities(&Extras::parse(meta)?).tasks)
}

/// Records a task, answers with it, and lets `work` run.
pub(super) fn begin(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    tool: &str,
    work: impl FnOnce(Task) -> Work + 'static,
) -> Reply {
    let services = Rc::clone(dispatcher.services());
    let owner = request.caller.session.agent();
    let tool = tool.to_owned();
    answer_later(request, async move {
        let id = Uuid::new_v4();
        let new = NewMcpTask {
            id,
            owner: owner.clone(),
            tool,
            ttl_ms: None,
            lease_ms: LEASE_MS,
        };
        let record = services.store.create_mcp_task(new).await?;
        let task = Task {
            spoken: services.running.begin(id),
            fed: Rc::default(),
            services,
            owner,
            id,
        };
        let work = work(task.clone());
        tokio::task::spawn_local(task.run(work));
        let mut out = b"{\"resultType\":\"task\",".to_vec();
        write_members(&mut out, &record);
        mcp::end_object(&mut out, Era::Modern);
        Ok(out)
    })
}

/// Lets an operation that takes long run as a task, if its client follows tasks.
pub(super) fn begin_operation(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    meta: &Member<'_>,
    (operation, arguments): (&Operation, Option<&str>),
) -> Result<Option<Reply>, Fault> {
    if !operation.has_whole() || !may_begin(request, meta)? {
        return Ok(None);
    }
    let context = Context::new(dispatcher.services(), request.session(), request.key);
    let Some(outcome) = operation.run_whole(&context, arguments) else {
        return Ok(None);
    };
    let later = match outcome {
        Outcome::Later(later) => later,
        // Refused at once: there is nothing to follow.
        Outcome::Ready(_) => return Ok(None),
    };
    let work: Work = Box::pin(async move {
        let mut out = Vec::new();
        match later.await {
            Ok(object) => write_result(&mut out, Wrapping::Tool(Era::Modern), &object),
            Err(fault) if is_mendable(fault.condition) => {
                mcp::write_tool_error(&mut out, Era::Modern, &fault);
            }
            Err(fault) => return Err(fault),
        }
        Ok(out)
    });
    let name = operation.tool.map_or(operation.method, |tool| tool.name);
    Ok(Some(begin(dispatcher, request, name, |_| work)))
}

impl Task {
    async fn run(self, work: Work) {
        let mut work = pin!(work);
        let mut renew = interval(Duration::from_millis(LEASE_MS / 3));
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                end = &mut work => break Some(end),
                () = self.spoken.notified() => {}
                _ = renew.tick() => {
                    let renewed = self.services.store.renew_mcp_tasks(vec![self.id], LEASE_MS);
                    // A store that does not answer now may do so before the lease is over.
                    let _ = renewed.await;
                }
            }
            match self.record().await {
                Ok(record) if record.status.is_terminal() => break None,
                Err(StoreError::NotFound { .. }) => break None,
                Ok(_) => self.fed.notify_one(),
                Err(_) => {}
            }
        };
        if let Some(end) = end {
            self.finish(end).await;
        }
        self.services.running.end(self.id);
    }

    fn record(&self) -> crate::store::Answer<McpTask> {
        self.services.store.get_mcp_task(&self.owner, self.id)
    }

    /// Writes how the task ended, for as long as that may help.
    async fn finish(&self, end: Result<Vec<u8>, Fault>) {
        let (status, payload) = match end {
            Ok(result) => (McpTaskStatus::Completed, result),
            Err(fault) => (McpTaskStatus::Failed, error_object(&fault)),
        };
        let payload = std::str::from_utf8(&payload)
            .ok()
            .and_then(JsonObject::parse);
        let mut change = McpTaskChange {
            status: Some(status),
            payload,
            ..McpTaskChange::default()
        };
        loop {
            match self.update(change.clone(), None).await {
                Err(StoreError::Unavailable(_) | StoreError::Busy) => sleep(RETRY).await,
                Err(StoreError::Invalid(violation))
                    if change.status != Some(McpTaskStatus::Failed) =>
                {
                    let fault = Fault::new(
                        Condition::Internal,
                        format!("the result cannot be kept: {violation}"),
                    );
                    let error = String::from_utf8(error_object(&fault)).unwrap_or_default();
                    change.status = Some(McpTaskStatus::Failed);
                    change.payload = JsonObject::parse(&error);
                }
                // Done; or cancelled, expired or given up meanwhile.
                _ => return,
            }
        }
    }

    async fn update(
        &self,
        change: McpTaskChange,
        expected: Option<u64>,
    ) -> Result<McpTask, StoreError> {
        let store = &self.services.store;
        let updated = store
            .update_mcp_task(&self.owner, self.id, expected, change)
            .await?;
        self.services.changes.publish(&Change::McpTask {
            owner: self.owner.clone(),
            id: self.id,
        });
        Ok(updated)
    }

    /// Waits until the client has answered all of these requests, the text of a JSON object.
    #[cfg_attr(
        not(feature = "conformance-fixture"),
        expect(dead_code, reason = "workflows will use it")
    )]
    pub(super) async fn ask(&self, requests: &str) -> Result<Value, Fault> {
        let change = McpTaskChange {
            status: Some(McpTaskStatus::InputRequired),
            payload: JsonObject::parse(requests),
            ..McpTaskChange::default()
        };
        self.update(change, None).await?;
        loop {
            self.fed.notified().await;
            let record = self.record().await?;
            if record.status == McpTaskStatus::Working {
                let inputs = record.inputs.unwrap_or_default();
                return Ok(sonic_rs::from_str(inputs.as_str()).unwrap_or_default());
            }
        }
    }
}

/// A fault as the error object of JSON-RPC.
fn error_object(fault: &Fault) -> Vec<u8> {
    let mut out = Vec::new();
    jsonrpc::write_error_object(&mut out, fault);
    out
}

/// Appends the members of a task, without braces.
fn write_members(out: &mut Vec<u8>, task: &McpTask) {
    let line = format!(
        "\"taskId\":\"{}\",\"status\":\"{}\",\"createdAt\":\"{}\",\"lastUpdatedAt\":\"{}\",\
         \"ttlMs\":{},\"pollIntervalMs\":{POLL_MS}",
        task.id,
        task.status.as_str(),
        task.created_at,
        task.updated_at,
        task.ttl_ms,
    );
    out.extend_from_slice(line.as_bytes());
    if let Some(message) = &task.message {
        out.extend_from_slice(b",\"statusMessage\":");
        json::write_string(out, message);
    }
    let member: &[u8] = match task.status {
        McpTaskStatus::InputRequired => b",\"inputRequests\":",
        McpTaskStatus::Completed => b",\"result\":",
        McpTaskStatus::Failed => b",\"error\":",
        McpTaskStatus::Working | McpTaskStatus::Cancelled => return,
    };
    if let Some(payload) = &task.payload {
        out.extend_from_slice(member);
        out.extend_from_slice(payload.as_str().as_bytes());
    }
}

/// Sends `notifications/tasks` with a task as it is now.
pub(super) async fn tell(
    services: &Services,
    session: &Session,
    id: Uuid,
    subscription: Option<&str>,
    outlet: &Outlet,
) {
    let Ok(record) = services.store.get_mcp_task(&session.agent(), id).await else {
        return;
    };
    let mut out = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tasks\",\"params\":{".to_vec();
    write_members(&mut out, &record);
    if let Some(subscription) = subscription {
        let meta = format!(",\"_meta\":{{\"{META_SUBSCRIPTION}\":{subscription}}}");
        out.extend_from_slice(meta.as_bytes());
    }
    out.extend_from_slice(b"}}");
    outlet.send(out);
}
