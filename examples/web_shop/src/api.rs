//! Commands and questions over HTTP.

use crate::context::{Context, IfMatch};
use crate::problem::{Failure, Problem};
use crate::shop::{
    Customer, CustomerCommand, Email, EmailCommand, Line, Order, OrderCommand, Refusal, Stock,
    StockCommand,
};
use crate::state::Shop;
use crate::view::{OrderRow, key, of_customer};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use filmstrip::uuid::Uuid;
use filmstrip::{Metadata, Version};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;

/// Rows of a page, unless the client asks for fewer.
const PAGE_ROWS_MAX: u64 = 100;
/// Lines of an order. Each is a stream of the commit.
const ORDER_LINES_MAX: usize = 50;
/// How long a request waits until the view holds what it has written itself.
const VIEW_PATIENCE: Duration = Duration::from_secs(2);

pub fn routes() -> Router<Shop> {
    Router::new()
        .route("/customers", post(register))
        .route("/customers/{id}", get(customer))
        .route("/customers/{id}/email", put(change_email))
        .route("/customers/{id}/orders", get(orders_of))
        .route("/stock/{article}", get(stock).post(receive))
        .route("/orders", get(orders).post(place))
        .route("/orders/{id}", get(order).delete(cancel))
}

/// A JSON body; what is wrong with it is a problem as all others are.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Problem))]
struct Body<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct Query<T>(T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

// ---- customers ---------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    name: String,
    email: String,
}

#[derive(Serialize)]
struct CustomerBody {
    id: String,
    name: String,
    email: String,
}

/// The address and the customer are decided together: either both are recorded, or nothing.
async fn register(
    State(shop): State<Shop>,
    Context(metadata): Context,
    Body(Registration { name, email }): Body<Registration>,
) -> Result<Response, Problem> {
    let email = canonical(&email)?;
    // Sent again with its key, the request means the same customer.
    let id = new_id(&metadata);
    let (customer, taken) = (id.clone(), email.clone());
    let done = shop
        .store
        .transact(metadata, move |tx| -> Result<(), Failure> {
            tx.execute::<Email>(&taken, &EmailCommand::Take { by: customer.clone() })?;
            let (name, email) = (name.clone(), taken.clone());
            tx.execute::<Customer>(&customer, &CustomerCommand::Register { name, email })?;
            Ok(())
        })
        .await?;
    tracing::info!(id, position = %done.position, "registered a customer");
    let status = if done.already_executed { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/customers/{id}");
    let customer = customer_body(&shop, id).await?;
    Ok((status, [(header::LOCATION, location)], customer).into_response())
}

async fn customer(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Response, Problem> {
    customer_body(&shop, id).await
}

async fn customer_body(shop: &Shop, id: String) -> Result<Response, Problem> {
    let loaded = shop.customers.load(id.as_str()).await?;
    let Some(email) = loaded.state.email else { return Err(Refusal::NoSuchCustomer.into()) };
    let body = CustomerBody { id, name: loaded.state.name, email };
    Ok(([(header::ETAG, etag(loaded.version))], Json(body)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    email: String,
}

/// Gives the old address up and takes the new one, if the customer is as the client saw it.
async fn change_email(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    Context(metadata): Context,
    IfMatch(expected): IfMatch,
    Body(NewEmail { email }): Body<NewEmail>,
) -> Result<Response, Problem> {
    let email = canonical(&email)?;
    let customer = id.clone();
    shop.store
        .transact(metadata, move |tx| -> Result<(), Failure> {
            let old = tx.load::<Customer>(&customer)?.email.ok_or(Refusal::NoSuchCustomer)?;
            let newest = tx.version::<Customer>(&customer)?.get();
            if newest != expected {
                return Err(Refusal::OtherVersion { newest, expected }.into());
            }
            if old != email {
                tx.execute::<Email>(&old, &EmailCommand::GiveUp)?;
                tx.execute::<Email>(&email, &EmailCommand::Take { by: customer.clone() })?;
            }
            let email = email.clone();
            tx.execute::<Customer>(&customer, &CustomerCommand::ChangeEmail { email })?;
            Ok(())
        })
        .await?;
    customer_body(&shop, id).await
}

/// Two spellings of an address must be one stream.
fn canonical(email: &str) -> Result<String, Problem> {
    let email = email.trim().to_lowercase();
    let is_plausible = email.len() <= 254
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && host.contains('.') && !email.contains(char::is_whitespace)
        });
    is_plausible.then_some(email.clone()).ok_or_else(|| {
        let detail = format!("{email:?} is not an e-mail address");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
}

// ---- stock -------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    pieces: u32,
}

#[derive(Serialize)]
struct StockBody {
    article: String,
    pieces: u32,
}

async fn receive(
    State(shop): State<Shop>,
    Path(article): Path<String>,
    Context(metadata): Context,
    Body(Delivery { pieces }): Body<Delivery>,
) -> Result<Response, Problem> {
    let command = StockCommand::Receive { pieces };
    let done = shop.stock.execute_with(article.as_str(), command, metadata).await?;
    let body = StockBody { article, pieces: done.state.pieces };
    Ok(([(header::ETAG, etag(done.version))], Json(body)).into_response())
}

async fn stock(State(shop): State<Shop>, Path(article): Path<String>) -> Result<Response, Problem> {
    let loaded = shop.stock.load(article.as_str()).await?;
    if loaded.version == Version::NONE {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such article"));
    }
    let body = StockBody { article, pieces: loaded.state.pieces };
    Ok(([(header::ETAG, etag(loaded.version))], Json(body)).into_response())
}

// ---- orders ------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    customer: String,
    lines: Vec<Line>,
}

/// Reserves each line's pieces and places the order, in one commit.
async fn place(
    State(shop): State<Shop>,
    Context(metadata): Context,
    Body(NewOrder { customer, lines }): Body<NewOrder>,
) -> Result<Response, Problem> {
    if lines.len() > ORDER_LINES_MAX {
        let detail = format!("{} lines, and {ORDER_LINES_MAX} at most are allowed", lines.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let id = new_id(&metadata);
    let order = id.clone();
    let done = shop
        .store
        .transact(metadata, move |tx| -> Result<(), Failure> {
            tx.load::<Customer>(&customer)?.email.ok_or(Refusal::NoSuchCustomer)?;
            for Line { article, pieces } in &lines {
                let reserve = StockCommand::Reserve { pieces: *pieces, order: order.clone() };
                tx.execute::<Stock>(article, &reserve)?;
            }
            let (customer, lines) = (customer.clone(), lines.clone());
            tx.execute::<Order>(&order, &OrderCommand::Place { customer, lines })?;
            Ok(())
        })
        .await?;
    // So that a list that the client asks for next holds the order. If that takes too long, the order stands.
    let in_view = timeout(VIEW_PATIENCE, shop.orders.wait_for(done.position)).await;
    let in_view = matches!(in_view, Ok(Ok(())));
    tracing::info!(id, position = %done.position, in_view, "placed an order");
    let status = if done.already_executed { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/orders/{id}");
    Ok((status, [(header::LOCATION, location)], order_body(&shop, &id).await?).into_response())
}

async fn order(State(shop): State<Shop>, Path(id): Path<String>) -> Result<Response, Problem> {
    order_body(&shop, &id).await
}

#[derive(Serialize)]
struct OrderBody<'a> {
    id: &'a str,
    customer: String,
    lines: Vec<Line>,
    is_cancelled: bool,
}

async fn order_body(shop: &Shop, id: &str) -> Result<Response, Problem> {
    let loaded = shop.orders_by_id.load(id).await?;
    let Order { customer, lines, is_cancelled } = loaded.state;
    let Some(customer) = customer else { return Err(Refusal::NotOpen.into()) };
    let body = OrderBody { id, customer, lines, is_cancelled };
    Ok(([(header::ETAG, etag(loaded.version))], Json(body)).into_response())
}

/// Returns each line's pieces to the stock, if the order is as the client saw it.
async fn cancel(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    Context(metadata): Context,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let order = id.clone();
    let done = shop
        .store
        .transact(metadata, move |tx| -> Result<(), Failure> {
            let newest = tx.version::<Order>(&order)?.get();
            if newest != expected && newest > 0 {
                return Err(Refusal::OtherVersion { newest, expected }.into());
            }
            let cancelled = tx.execute::<Order>(&order, &OrderCommand::Cancel)?;
            for Line { article, pieces } in &cancelled.state.lines {
                let back = StockCommand::Return { pieces: *pieces, order: order.clone() };
                tx.execute::<Stock>(article, &back)?;
            }
            Ok(())
        })
        .await?;
    let _ = timeout(VIEW_PATIENCE, shop.orders.wait_for(done.position)).await;
    order_body(&shop, &id).await
}

// ---- pages -------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// The id of the last order of the page before.
    after: Option<String>,
    /// The id of the first order of the page after: the newest orders before it.
    before: Option<String>,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Page {
    orders: Vec<OrderRow>,
    /// What to ask for to see the next page, and the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

async fn orders(
    State(shop): State<Shop>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page>, Problem> {
    page(&shop, "/orders", key(""), query).await
}

async fn orders_of(
    State(shop): State<Shop>,
    Path(customer): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page>, Problem> {
    let path = format!("/customers/{customer}/orders");
    page(&shop, &path, of_customer(&customer), query).await
}

async fn page(
    shop: &Shop,
    path: &str,
    prefix: String,
    PageQuery { after, before, limit }: PageQuery,
) -> Result<Json<Page>, Problem> {
    let limit = limit.unwrap_or(PAGE_ROWS_MAX).clamp(1, PAGE_ROWS_MAX);
    let (from, until) =
        (after.map(|id| prefix.clone() + &id), before.map(|id| prefix.clone() + &id));
    let is_backwards = until.is_some();
    let read = move |view: &filmstrip::projection::View| {
        let mut rows = view.rows().prefix(&prefix).limit(limit);
        if let Some(from) = &from {
            rows = rows.after(from);
        }
        if let Some(until) = &until {
            rows = rows.before(until).backwards();
        }
        rows.collect::<OrderRow>()
    };
    let mut rows = shop.orders.view().run(read).await??;
    if is_backwards {
        rows.reverse();
    }
    let orders: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    let is_full = orders.len() as u64 == limit;
    let next = orders.last().filter(|_| is_full || is_backwards);
    let next = next.map(|last| format!("{path}?after={}&limit={limit}", last.id));
    let previous = orders.first().map(|first| format!("{path}?before={}&limit={limit}", first.id));
    Ok(Json(Page { orders, next, previous }))
}

// ---- shared ------------------------------------------------------------------------------------

/// A client sends the version back as If-Match.
fn etag(version: Version) -> HeaderValue {
    let tag = format!("\"{version}\"");
    HeaderValue::from_str(&tag).expect("a number in quotation marks")
}

/// The id of what a request makes: of its key, if it has one, so that a request that is sent again means the same.
/// Otherwise one that grows with time.
fn new_id(metadata: &Metadata) -> String {
    metadata.command_id.unwrap_or_else(Uuid::now_v7).to_string()
}
