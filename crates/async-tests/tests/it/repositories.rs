//! Repositories, transactions and buses, for tasks.

use crate::common::{Account, store, tokio};
use filmstrip::repository::ExecuteError;
use filmstrip::{ErrorKind, Version};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

#[test]
fn many_tasks_execute_commands_on_few_aggregates_and_none_is_lost() {
    let store = store();
    tokio(async {
        let accounts = store.repository::<Account>();
        let tasks = (0..1_000).map(|n| {
            let accounts = accounts.clone();
            tokio::spawn(async move { accounts.execute(format!("a{}", n % 5), 1).await })
        });
        for done in join_all(tasks).await {
            done.unwrap().unwrap();
        }
        for n in 0..5 {
            let loaded = accounts.load(format!("a{n}")).await.unwrap();
            assert_eq!((loaded.state.balance, loaded.version.get()), (200, 200));
        }
    });
}

#[test]
fn loads_and_histories_are_those_of_the_synchronous_repository() {
    let store = store();
    tokio(async {
        let accounts = store.repository::<Account>();
        for n in 1..=10 {
            accounts.execute("a", n).await.unwrap();
        }
        assert!(matches!(accounts.execute("a", -100).await, Err(ExecuteError::Rejected(_))));
        let then = accounts.load_as_of("a", Version::new(4)).await.unwrap();
        assert_eq!(then.state.balance, 10);
        let film: Vec<_> = accounts.history("a").try_collect().await.unwrap();
        let balances: Vec<_> = film.iter().map(|entry| entry.state.balance).collect();
        assert_eq!(balances, [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]);
        let none: filmstrip::Result<Vec<_>> = accounts.history("b").try_collect().await;
        assert_eq!(none.unwrap_err().kind(), ErrorKind::StreamNotFound);
        let done = store
            .transact(Default::default(), |tx| -> filmstrip::Result<i64> {
                tx.execute::<Account>("b", &5)?;
                Ok(tx.execute::<Account>("a", &-5)?.state.balance)
            })
            .await
            .unwrap();
        assert_eq!(done.outcome, Some(50));
    });
}

#[test]
fn a_bus_answers_tasks_and_makes_them_wait_for_room() {
    let store = store();
    tokio(async {
        let bus =
            store.sync().repository::<Account>().bus().workers(2).queue(2).start().unwrap().aio();
        let sent = (0..300).map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.send(format!("a{}", n % 3), 1).await.unwrap().await })
        });
        for outcome in join_all(sent).await {
            outcome.unwrap().unwrap();
        }
        bus.close().await.unwrap();
        assert_eq!(bus.send("a0", 1).await.err().unwrap().kind(), ErrorKind::Closed);
        let accounts = store.repository::<Account>();
        assert_eq!(accounts.load("a0").await.unwrap().state.balance, 100);
    });
}
