//! The operator's page: panels, runs, withheld plans, charts, and runs by hand.
//!
//! It is behind the board's authentication, which also refuses forms of other sites. It needs no scripts: `load` reads
//! the history, [`view`] decides what to show, and [`render`] writes the HTML.

use axum::Router;
use axum::extract::rejection::{QueryRejection, RawFormRejection};
use axum::extract::{Query, RawForm, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFRESH};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::report::Job;
use maud::Markup;

use crate::board::{BoardState, EnqueueError};
use crate::page::order::Order;
use crate::page::selection::{Asking, PATH, Selection, Shown};
use crate::task::SyncTask;

mod charts;
mod load;
mod order;
mod render;
mod selection;
mod view;
mod withheld;
mod words;

pub(crate) use view::status;
pub(crate) use withheld::is_withheld;

/// Allows the page's own stylesheet and icon, and forms to itself; nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = include_str!("../assets/page.css");
const ICON: &str = include_str!("../assets/icon.svg");

/// The routes of the page.
pub(crate) fn router(state: BoardState) -> Router {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move {
            (
                [
                    (CONTENT_TYPE, kind),
                    (CACHE_CONTROL, "private, max-age=300"),
                    (CONTENT_SECURITY_POLICY, POLICY),
                ],
                text,
            )
        })
    };
    Router::new()
        .route(PATH, get(show))
        .route(&format!("{PATH}/run"), post(run))
        .route(
            &format!("{PATH}/style.css"),
            asset("text/css; charset=utf-8", STYLE),
        )
        .route(&format!("{PATH}/icon.svg"), asset("image/svg+xml", ICON))
        .with_state(state)
}

/// `GET /marzban`.
async fn show(State(state): State<BoardState>, asked: Result<Query<Shown>, QueryRejection>) -> Response {
    let asked = asked.map(|Query(asked)| asked).unwrap_or_default();
    let now = SystemClock.now();
    let (selection, asking) = (asked.selection(), asked.asking());
    let is_live = selection.is_live;
    let mut response = match rendered(&state, selection, asking, now).await {
        Ok(page) => html(StatusCode::OK, page),
        Err(error) => unavailable(&error),
    };
    if is_live {
        response
            .headers_mut()
            .insert(REFRESH, HeaderValue::from_static("30"));
    }
    response
}

async fn rendered(
    state: &BoardState,
    selection: Selection,
    asking: Option<Asking>,
    now: DateTime<Utc>,
) -> anyhow::Result<Markup> {
    let task = asking.as_ref().and_then(Asking::task);
    let facts = load::facts(state, &selection, task, now).await?;
    let page = view::page(&facts, &state.panels, &state.schedules, (selection, asking), now);
    Ok(render::page(&page))
}

/// `POST /marzban/run`: queues a run and redirects to the page, which then shows its state.
async fn run(State(state): State<BoardState>, form: Result<RawForm, RawFormRejection>) -> Response {
    let Some(order) = form.ok().and_then(|RawForm(body)| Order::parse(&body)) else {
        return refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "This is none of the page's forms.",
        );
    };
    let Some(job) = Job::parse(&order.job) else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "There is no such job.");
    };
    let asking = match ask(&state, job, &order).await {
        Ok(asking) => asking,
        Err(EnqueueError::UnknownPanel) => {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "There is no such panel.");
        }
        Err(EnqueueError::Queue(error)) => return unavailable(&error),
    };
    let address = format!("{}#notice", order.shown().selection().address(Some(&asking)));
    (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response()
}

/// Queues the run of an order. An order that applies or answers a plan counts only while that very plan waits.
async fn ask(state: &BoardState, job: Job, order: &Order) -> Result<Asking, EnqueueError> {
    let task = match (order.plan, order.right) {
        (None, None) => SyncTask::manual(job, &order.panel, false),
        (None, Some(_)) => return Ok(Asking::PlanChanged),
        (Some(_), None) if !order.is_confirmed() => return Ok(Asking::Unconfirmed),
        (Some(_), Some(_)) if order.names.is_empty() => return Ok(Asking::NobodyTicked),
        (Some(plan), right) => {
            let runs = load::runs(state).await.map_err(EnqueueError::Queue)?;
            let waiting = withheld::pending(&runs.stopped, &runs.completed)
                .find(|run| run.id.0 == plan && run.job == job && run.panel == order.panel);
            match (waiting, right) {
                (None, _) => return Ok(Asking::PlanChanged),
                (Some(_), None) => SyncTask::applying(job, &order.panel, plan),
                (Some(run), Some(right)) => match withheld::answer(run, right, order) {
                    Some(task) => task,
                    None => return Ok(Asking::PlanChanged),
                },
            }
        }
    };
    let task = state.push(task).await?;
    Ok(Asking::Task(task))
}

fn refusal(status: StatusCode, words: &str) -> Response {
    html(status, render::failure("That was refused", words))
}

fn unavailable(error: &anyhow::Error) -> Response {
    tracing::warn!(error = format!("{error:#}"), "the page cannot be shown");
    let words = "The bot's database does not answer, so there is nothing to show and nothing can be asked for. \
                 The log of this process says why.";
    html(
        StatusCode::SERVICE_UNAVAILABLE,
        render::failure("The database does not answer", words),
    )
}

fn html(status: StatusCode, page: Markup) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, page.into_string()).into_response()
}
