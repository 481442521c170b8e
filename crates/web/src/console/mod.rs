//! The console: pages for people. Siblings of the API over the same functions; they work without JavaScript.

mod administration;
mod alert;
mod alerts;
mod guard;
mod login;
mod page;

use crate::openapi::Operation;
use crate::routes::Routes;
use axum::http::Method;
pub(crate) use page::{not_found, prepare};

pub(crate) fn routes(routes: &mut Routes) {
    let page = || Operation::page(Method::GET);
    let form = || Operation::page(Method::POST);
    routes.add(&["/"], page(), alerts::show);
    routes.add(&["/alerts/{id}"], page(), alert::show);
    routes.add(&["/alerts/{id}/status"], form(), alert::change);
    routes.add(&["/login"], page(), login::show);
    routes.add(&["/login"], form(), login::enter);
    routes.add(&["/logout"], form(), login::leave);
    routes.add(&["/admin"], page(), administration::show);
    routes.add(&["/admin/users"], form(), administration::create_user);
    routes.add(&["/admin/users/{id}"], form(), administration::change_user);
    routes.add(&["/admin/keys"], form(), administration::create_key);
    routes.add(&["/admin/keys/{id}/revoke"], form(), administration::revoke_key);
    routes.add(&["/static/{name}"], page(), page::file);
}
