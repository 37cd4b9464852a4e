//! What all requests share.

use crate::shop::{Customer, Order, Stock};
use filmstrip::aio;
use filmstrip::projection::ProjectionHandle;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Browsers that follow live events at once. Each takes a socket and a buffer of the subscription.
const LIVE_CLIENTS_MAX: usize = 1_000;

#[derive(Clone)]
pub struct Shop {
    pub store: aio::Store,
    pub customers: aio::Repository<Customer>,
    pub stock: aio::Repository<Stock>,
    pub orders_by_id: aio::Repository<Order>,
    /// The view of orders.
    pub orders: aio::ProjectionHandle,
    pub live_clients: Arc<Semaphore>,
    /// Ends what would otherwise go on for as long as its client stays: live events.
    pub ends: CancellationToken,
}

impl Shop {
    pub fn new(store: &filmstrip::Store, orders: &ProjectionHandle) -> Shop {
        let store = store.aio();
        Shop {
            customers: store.repository(),
            stock: store.repository(),
            orders_by_id: store.repository(),
            orders: orders.aio(),
            store,
            live_clients: Arc::new(Semaphore::new(LIVE_CLIENTS_MAX)),
            ends: CancellationToken::new(),
        }
    }
}
