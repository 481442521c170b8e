//! The console: pages for people. Siblings of the API over the same functions; they work without JavaScript.

mod account;
mod administration;
mod alert;
pub(crate) mod chart;
mod client;
mod developer;
mod event_facts;
mod events;
mod files;
mod first_run;
mod guard;
mod handover;
mod login;
mod neighbours;
mod overview;
mod page;
mod problem;
mod queue;
mod refused;
mod said;
mod single_sign_on;
mod snippets;
mod step_up;
mod stream;
mod visible;

use crate::openapi::Operation;
use crate::routes::Routes;
use crate::single_sign_on::CALLBACK;
use axum::http::Method;
pub(crate) use guard::log_in_first;
pub(crate) use page::prepare;
pub(crate) use problem::{framed, not_found, refusal};

pub(crate) fn routes(routes: &mut Routes) {
    let page = || Operation::page(Method::GET);
    let form = || Operation::page(Method::POST);
    routes.add(&["/"], page(), overview::show);
    routes.add(&["/handover"], page(), handover::show);
    routes.add(&["/handover"], form(), handover::see);
    routes.add(&["/alerts"], page(), queue::show);
    routes.add(&["/alerts/bulk"], form(), queue::bulk::change);
    routes.add(&["/alerts/views"], form(), queue::views::create);
    routes.add(&["/alerts/views/{id}/delete"], form(), queue::views::delete);
    routes.add(&["/alerts/jobs/{job}"], page(), queue::bulk::show);
    routes.add(&["/alerts/jobs/{job}/undo"], form(), queue::bulk::take_back);
    routes.add(&["/alerts/{id}"], page(), alert::show);
    routes.add(&["/alerts/{id}/act"], form(), alert::change);
    routes.add(&["/events"], page(), events::show);
    routes.add(&["/events/chart"], page(), events::show_chart);
    routes.add(&["/events/export"], page(), events::export);
    routes.add(&["/events/{id}"], page(), events::show_one);
    routes.add(&["/events/{id}/alert"], form(), events::raise);
    routes.add(&["/stream"], page(), stream::watch);
    routes.add(&["/login"], page(), login::show);
    routes.add(&["/login"], form(), login::enter);
    routes.add(&["/login/single-sign-on"], page(), single_sign_on::begin);
    routes.add(&[CALLBACK], page(), single_sign_on::finish);
    routes.add(&["/logout"], form(), login::leave);
    routes.add(&["/step-up"], page(), step_up::show);
    routes.add(&["/step-up"], form(), step_up::finish);
    routes.add(&["/account"], page(), account::show);
    routes.add(&["/account/preferences"], form(), account::prefer);
    routes.add(&["/account/password"], form(), account::password);
    routes.add(&["/account/factor/setup"], form(), account::set_up_factor);
    routes.add(&["/account/factor"], form(), account::begin_factor);
    routes.add(&["/account/factor/recovery-codes"], form(), account::new_recovery_codes);
    routes.add(&["/account/factor/remove"], form(), account::remove_factor);
    routes.add(&["/account/sessions/{session}/end"], form(), account::end_session);
    routes.add(&["/account/sessions/end-others"], form(), account::end_other_sessions);
    administration(routes);
    routes.add(&["/developer"], page(), developer::show);
    routes.add(&["/developer/token"], form(), developer::token);
    routes.add(&["/developer/event"], form(), developer::event);
    routes.add(&["/developer/analyst"], form(), developer::analyst);
    routes.add(&["/static/{name}"], page(), files::show);
}

fn administration(routes: &mut Routes) {
    use administration::{audit, keys, sessions, settings, user, users};
    let page = || Operation::page(Method::GET);
    let form = || Operation::page(Method::POST);
    routes.add(&["/admin/users", "/admin"], page(), users::show);
    routes.add(&["/admin/users"], form(), users::create);
    routes.add(&["/admin/users/{id}"], page(), user::show);
    routes.add(&["/admin/users/{id}"], form(), user::change);
    routes.add(&["/admin/users/{id}/sessions/end"], form(), user::end_sessions);
    routes.add(&["/admin/keys"], page(), keys::show);
    routes.add(&["/admin/keys"], form(), keys::create);
    routes.add(&["/admin/keys/{id}/revoke"], form(), keys::revoke);
    routes.add(&["/admin/sessions"], page(), sessions::show);
    routes.add(&["/admin/sessions/{session}/end"], form(), sessions::end);
    routes.add(&["/admin/audit"], page(), audit::show);
    routes.add(&["/admin/audit/verify"], page(), audit::verify);
    routes.add(&["/admin/audit/export"], page(), audit::export);
    routes.add(&["/admin/settings"], page(), settings::show);
}
