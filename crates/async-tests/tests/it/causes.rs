//! What caused a command, and the trace that it is part of, although its task shares threads with others, and its
//! decision is made on the pool.

use crate::common::{Account, event, tokio};
use filmstrip::trace::TraceContext;
use filmstrip::{ExpectedVersion, Metadata, RecordedEvent, Store};
use futures_util::{StreamExt, TryStreamExt};

/// The last event of a stream.
async fn last(store: &filmstrip::aio::Store, stream: &str) -> RecordedEvent {
    let events: Vec<_> = store.read_stream(stream).stream().try_collect().await.unwrap();
    events.into_iter().next_back().unwrap()
}

#[test]
fn only_the_task_that_handles_a_delivery_is_caused_by_it() {
    let store = Store::temporary().unwrap().aio();
    // One thread for all tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        store.append("Door-1", ExpectedVersion::NoStream, [event(1)]).await.unwrap();
        let accounts = store.repository::<Account>();
        let bus = store.sync().repository::<Account>().bus().workers(1).queue(1).start().unwrap();
        let bus = bus.aio();
        let group = store.subscribe().category("Door").group("adder");
        let mut consumer = group.into_stream().await.unwrap();
        let delivery = consumer.next().await.unwrap().unwrap();
        let cause = delivery.event.id;

        // The thread has taken it and not answered: other tasks are not caused by it all the same.
        accounts.execute("other", 1).await.unwrap();
        assert_eq!(last(&store, "Account-other").await.metadata.causation_id, None);

        let handles = delivery.handle(async {
            accounts.execute("executed", 1).await.unwrap();
            let pay = async |id: &'static str| {
                let closure = move |tx: &mut filmstrip::transaction::Transaction<'_>| {
                    tx.execute::<Account>(id, &1).map(|_| ())
                };
                store.transact(Metadata::default(), closure).await.unwrap();
            };
            pay("transacted").await;
            // More than there is room for, so that some wait on the pool.
            let mut tickets = Vec::new();
            for n in 0..20 {
                tickets.push(bus.send(format!("sent{n}"), 1).await.unwrap());
            }
            for ticket in tickets {
                ticket.await.unwrap();
            }
            tokio::task::yield_now().await;
            pay("later").await;
        });
        let beside = async {
            for n in 0..20 {
                accounts.execute(format!("beside{n}"), 1).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::join(handles, beside).await;
        let caused = ["executed", "transacted", "later"].map(str::to_owned);
        for id in caused.into_iter().chain((0..20).map(|n| format!("sent{n}"))) {
            let metadata = last(&store, &format!("Account-{id}")).await.metadata;
            assert_eq!(metadata.causation_id, Some(cause), "{id}");
            assert_eq!(metadata.correlation_id, Some(cause), "{id}");
        }
        for n in 0..20 {
            let metadata = last(&store, &format!("Account-beside{n}")).await.metadata;
            assert_eq!(metadata.causation_id, None, "beside{n}");
        }
        delivery.ack().await.unwrap();
        accounts.execute("after", 1).await.unwrap();
        assert_eq!(last(&store, "Account-after").await.metadata.causation_id, None);
    });
}

tokio::task_local! {
    static TRACE: &'static str;
}

struct TaskTrace;

impl TraceContext for TaskTrace {
    fn traceparent(&self) -> Option<String> {
        TRACE.try_with(|trace| (*trace).to_owned()).ok()
    }
}

#[test]
fn a_command_is_part_of_the_trace_of_its_task() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let store = Store::builder().trace_context(TaskTrace).temporary().unwrap().aio();
    tokio(TRACE.scope(PARENT, async {
        let accounts = store.repository::<Account>();
        accounts.execute("executed", 1).await.unwrap();
        let closure = |tx: &mut filmstrip::transaction::Transaction<'_>| {
            tx.execute::<Account>("transacted", &1).map(|_| ())
        };
        store.transact(Metadata::default(), closure).await.unwrap();
        let bus = store.sync().repository::<Account>().bus().start().unwrap().aio();
        bus.send_with("sent", 1, Metadata::default().user("carol")).await.unwrap().await.unwrap();
        for id in ["executed", "transacted", "sent"] {
            let metadata = last(&store, &format!("Account-{id}")).await.metadata;
            assert_eq!(
                metadata.entries.get("traceparent").map(String::as_str),
                Some(PARENT),
                "{id}"
            );
        }
        assert_eq!(last(&store, "Account-sent").await.metadata.user.as_deref(), Some("carol"));
    }));
}
