//! One tour of the async API under each runtime.

use crate::common::{Account, event, store};
use async_tests::block_on;
use filmstrip::{ExpectedVersion, Version};
use futures_util::{StreamExt, TryStreamExt};

async fn tour() {
    let store = store();
    let first =
        store.append("Walk-1", ExpectedVersion::NoStream, [event(1), event(2)]).await.unwrap();
    assert_eq!(first.version, Version::new(2));
    let second = store.append("Walk-1", Version::new(2), [event(3)]).await.unwrap();
    assert_eq!(second.position.get(), 3);
    let conflict = store.append("Walk-1", ExpectedVersion::NoStream, [event(9)]).await;
    assert!(matches!(conflict, Err(filmstrip::AppendError::Conflict(_))), "{conflict:?}");

    let read: Vec<u64> = store
        .read_stream("Walk-1")
        .stream()
        .map(|event| event.and_then(|event| event.json::<u64>()))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(read, [1, 2, 3]);

    let mut live = store.subscribe().into_stream().unwrap();
    for wanted in 1..=3 {
        assert_eq!(live.next().await.unwrap().unwrap().position.get(), wanted);
    }
    let (next, appended) = futures_util::future::join(
        live.next(),
        store.append("Walk-2", ExpectedVersion::Any, [event(4)]),
    )
    .await;
    assert_eq!(next.unwrap().unwrap().position, appended.unwrap().position);

    let accounts = store.repository::<Account>();
    accounts.execute("a", 50).await.unwrap();
    assert_eq!(accounts.load("a").await.unwrap().state.balance, 50);
    assert_eq!(live.next().await.unwrap().unwrap().stream, "Account-a");
    store.close().await.unwrap();
    assert!(live.next().await.is_none(), "a subscription ends with the store");
}

#[test]
fn it_works_under_tokio_with_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(tour());
}

#[test]
fn it_works_under_tokio_with_several_threads() {
    crate::common::tokio(async { tokio::spawn(tour()).await.unwrap() });
}

#[test]
fn it_works_under_smol() {
    smol::block_on(smol::spawn(tour()));
}

#[test]
fn it_works_without_a_runtime() {
    block_on(tour());
}
