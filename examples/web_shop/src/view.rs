//! The orders by their ids: all of them, and those of each customer.
//!
//! An id grows with time, unless the client chose it by the key of its request. So a list is in the order in which
//! orders were placed, if clients send keys of UUID version 7.

use crate::shop::{Line, Order, OrderEvent};
use chrono::{DateTime, Utc};
use filmstrip::{Filter, HandlerError, Projection, RecordedEvent, ViewWriter};
use serde::{Deserialize, Serialize};

/// A row of the view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderRow {
    pub id: String,
    pub customer: String,
    pub lines: Vec<Line>,
    pub placed_at: DateTime<Utc>,
    pub is_cancelled: bool,
}

pub struct Orders;

/// The key of the row among all orders.
pub fn key(order: &str) -> String {
    format!("order/{order}")
}

/// What the keys of a customer's orders begin with.
pub fn of_customer(customer: &str) -> String {
    format!("customer/{customer}/")
}

impl Projection for Orders {
    const NAME: &'static str = "orders";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::aggregate::<Order>()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let id = event.stream.id().ok_or("an order's stream has no id")?.to_owned();
        let row = match event.decode()? {
            OrderEvent::OrderPlaced { customer, lines } => {
                let placed_at = event.recorded_at;
                OrderRow { id, customer, lines, placed_at, is_cancelled: false }
            }
            OrderEvent::OrderCancelled => {
                let row: OrderRow =
                    view.get(&key(&id))?.ok_or("an order was cancelled unplaced")?;
                OrderRow { is_cancelled: true, ..row }
            }
        };
        view.put(&key(&row.id), &row)?;
        view.put(&(of_customer(&row.customer) + &row.id), &row)?;
        Ok(())
    }
}
