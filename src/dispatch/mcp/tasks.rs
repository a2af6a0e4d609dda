//! The tasks extension (SEP-2663).

use std::rc::Rc;

use uuid::Uuid;

use super::caller::Request;
use crate::delivery::{Outlet, Session};
use crate::dispatch::{Dispatcher, Reply};
use crate::operations::{Operation, Services};
use crate::rpc::json::Member;
use crate::rpc::{Condition, Fault};

pub(super) fn get(_: &Rc<Dispatcher>, _: Request<'_>, _: Option<&str>) -> Result<Reply, Fault> {
    Err(Fault::new(Condition::MethodNotFound, "x"))
}
pub(super) fn update(_: &Rc<Dispatcher>, _: Request<'_>, _: Option<&str>) -> Result<Reply, Fault> {
    Err(Fault::new(Condition::MethodNotFound, "x"))
}
pub(super) fn cancel(_: &Rc<Dispatcher>, _: Request<'_>, _: Option<&str>) -> Result<Reply, Fault> {
    Err(Fault::new(Condition::MethodNotFound, "x"))
}
pub(super) fn begin_operation(
    _: &Rc<Dispatcher>,
    _: Request<'_>,
    _: &Member<'_>,
    _: (usize, &Operation, Option<&str>),
) -> Result<Option<Reply>, Fault> {
    Ok(None)
}
pub(super) async fn tell(_: &Services, _: &Session, _: Uuid, _: Option<&str>, _: &Outlet) {}
