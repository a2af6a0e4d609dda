//! Subscriptions: `subscriptions/listen` of the modern era, `resources/subscribe` of the legacy.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use uuid::Uuid;

use super::caller::Request;
use super::resources::{self, Resource};
use super::watch::{Interest, Watch};
use crate::config::limits::{LISTENS_MAX, WATCHED_URIS_MAX};
use crate::dispatch::wrapping::answer_later;
use crate::dispatch::{Dispatcher, Reply};
use crate::rpc::mcp::{
    self, ClientCapabilities, Extras, META_SUBSCRIPTION, Params, write_acknowledged,
};
use crate::rpc::{Condition, Fault, json, jsonrpc};

/// Tools and prompts are the same for as long as the server runs, but for those of the fixture.
const LISTS_CHANGE: bool = cfg!(feature = "conformance-fixture");

/// The filter of a listen request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: Vec<String>,
    task_ids: Vec<String>,
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Condition::InvalidArguments, message)
}

/// Checks that a connection may watch this many more.
fn check_count(watches: &[Watch], more: usize) -> Result<(), Fault> {
    let watched = watches.iter().map(|watch| watch.interest().count());
    if watched.sum::<usize>() + more > WATCHED_URIS_MAX {
        return Err(invalid(format!(
            "a connection watches at most {WATCHED_URIS_MAX} resources"
        )));
    }
    Ok(())
}

/// Answers `subscriptions/listen` with its acknowledgement, which says what of the filter is
/// honoured; the result itself comes when the subscription ends.
pub(super) fn listen(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let params = Params::parse(params)?;
    let filter: Filter = match params.notifications.raw() {
        Some(raw) if raw.starts_with('{') => sonic_rs::from_str(raw).map_err(|error| {
            let reason = json::reason(&error);
            invalid(format!("params.notifications: {reason}"))
        })?,
        _ => return Err(invalid("params.notifications must be an object")),
    };
    let caller = request.caller;
    let asked = filter.resource_subscriptions.len() + filter.task_ids.len();
    check_count(&caller.watches.borrow(), asked)?;
    let extras = Extras::parse(&params.meta)?;
    if !filter.task_ids.is_empty() && !request.capabilities(&extras).tasks {
        return Err(ClientCapabilities::missing_tasks());
    }
    if caller.watches.borrow().len() >= LISTENS_MAX {
        let message = format!("a connection has at most {LISTENS_MAX} subscriptions");
        return Err(invalid(message));
    }
    let uris = filter.resource_subscriptions.into_iter().filter_map(|uri| {
        let resource = Resource::parse(&uri)?;
        Some((uri, resource))
    });
    let tasks = filter.task_ids.iter();
    let interest = Interest {
        tools: filter.tools_list_changed && LISTS_CHANGE,
        prompts: filter.prompts_list_changed && LISTS_CHANGE,
        resources: filter.resources_list_changed,
        uris: RefCell::new(uris.collect()),
        tasks: tasks.filter_map(|id| Uuid::try_parse(id).ok()).collect(),
    };
    let honoured = honoured(&interest);
    let services = dispatcher.services();
    let watches = &dispatcher.watches;
    let mut acknowledged = Vec::new();
    write_acknowledged(&mut acknowledged, &honoured, request.id);
    let opening = Some((Box::from(request.id), acknowledged));
    let watch = watches.begin(services, &caller.session, request.outlet, opening, interest);
    caller.watches.borrow_mut().push(watch);
    Ok(Reply::Stream)
}

/// The filter that is honoured, as a JSON object.
fn honoured(interest: &Interest) -> String {
    let mut out = b"{".to_vec();
    let mut member = |name: &str, value: &[u8]| {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_string(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value);
    };
    for (name, asked) in [
        ("toolsListChanged", interest.tools),
        ("promptsListChanged", interest.prompts),
        ("resourcesListChanged", interest.resources),
    ] {
        if asked {
            member(name, b"true");
        }
    }
    let mut uris: Vec<String> = interest.uris.borrow().keys().cloned().collect();
    uris.sort_unstable();
    let tasks = interest.tasks.iter().map(Uuid::to_string).collect();
    for (name, list) in [("resourceSubscriptions", uris), ("taskIds", tasks)] {
        if !list.is_empty() {
            let mut value = Vec::new();
            json::write(&mut value, &list).expect("strings are JSON");
            member(name, &value);
        }
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// The last message of a subscription that the server ends: the result of its request.
pub(super) fn end(id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    jsonrpc::begin_result(&mut out, id);
    out.extend_from_slice(b"{\"resultType\":\"complete\",\"_meta\":{\"");
    out.extend_from_slice(META_SUBSCRIPTION.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"io.modelcontextprotocol/serverInfo\":");
    out.extend_from_slice(mcp::server_info().as_bytes());
    out.extend_from_slice(b"}}");
    jsonrpc::end_result(&mut out);
    out
}

/// Answers `resources/subscribe`.
pub(super) fn subscribe(
    dispatcher: &Rc<Dispatcher>,
    request: Request<'_>,
    params: Option<&str>,
) -> Result<Reply, Fault> {
    let uri = resources::uri(params)?;
    let Some(resource) = Resource::parse(&uri) else {
        return Err(resources::not_found(request.era, &uri));
    };
    let caller = request.caller;
    let mut watches = caller.watches.borrow_mut();
    let own = watches.iter().position(|watch| watch.id().is_none());
    let at = own.unwrap_or_else(|| {
        let (services, outlet) = (dispatcher.services(), &caller.outlet);
        let interest = Interest {
            uris: RefCell::new(HashMap::new()),
            ..Interest::default()
        };
        let watch = dispatcher
            .watches
            .begin(services, &caller.session, outlet, None, interest);
        watches.push(watch);
        watches.len() - 1
    });
    let uris = &watches[at].interest().uris;
    if !uris.borrow().contains_key(&uri) {
        check_count(&watches, 1)?;
        uris.borrow_mut().insert(uri, resource);
    }
    let noted = watches[at].note(dispatcher.services());
    Ok(answer_later(request, async move {
        noted.await;
        Ok(b"{}".to_vec())
    }))
}

/// Ends what `resources/subscribe` began; of a resource that is not subscribed to it asks nothing.
pub(super) fn unsubscribe(request: Request<'_>, params: Option<&str>) -> Result<(), Fault> {
    let uri = resources::uri(params)?;
    request.caller.watches.borrow_mut().retain(|watch| {
        if watch.id().is_none() {
            watch.forget(&uri);
        }
        watch.id().is_some() || !watch.interest().uris.borrow().is_empty()
    });
    Ok(())
}
