//! What programs are answered: JSON, behind the same guard as the pages.

use crate::common::{ByCity, Customer, Served, Shop, address, client, shop};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{Follower, Store};
use filmstrip_studio::Studio;
use serde_json::{Value, json};
use std::time::Duration;

/// The status and the JSON of an answer to a program.
async fn ask(served: &Served, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = client().get(served.page(path)).header("accept", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json", "{path}");
    assert_eq!(response.headers()["x-filmstrip-studio"], "1", "{path}");
    assert!(response.headers().contains_key("content-security-policy"), "{path}");
    let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}")))
}

#[tokio::test]
async fn what_runs_and_what_it_has_parked_is_told_as_json() {
    let Shop { store, .. } = shop();
    let park = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let by_city = store.project(ByCity).on_error(park).start().unwrap();
    let customers = store.repository::<Customer>();
    let lost = customers.execute("1009", &address("1 Reef", "Atlantis")).unwrap();
    by_city.wait_for(lost.position, Duration::from_secs(60)).unwrap();
    let served = Served::new(Studio::new(&store).projection(&by_city)).await;
    let (status, running) = ask(&served, "/running.json", &[]).await;
    let [follower] = &running["followers"].as_array().unwrap()[..] else { panic!("{running}") };
    assert_eq!(status, 200);
    assert_eq!(
        ["kind", "name", "state", "parked", "error"].map(|field| follower[field].clone()),
        [json!("projection"), json!("by_city"), json!("running"), json!(1), json!(null)]
    );
    let (status, parked) = ask(&served, "/running/projection/by_city/parked.json", &[]).await;
    assert_eq!((status, &parked["more"]), (200, &json!(0)));
    let waiting = &parked["parked"][0];
    assert_eq!(waiting["position"], lost.position.get());
    assert_eq!(waiting["what"], "AddressUpdated in Customer-1009");
    assert!(waiting["error"].as_str().unwrap().contains("there is no such city"), "{parked}");
}

#[tokio::test]
async fn a_refusal_is_json_for_a_program_and_a_page_for_a_browser() {
    let Shop { store, .. } = shop();
    let by_city = store.project(ByCity).start().unwrap();
    let studio = Studio::new(&store).projection(&by_city).token("a-secret-token");
    let served = Served::new(studio).await;
    let token = ("authorization", "Bearer a-secret-token");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Headers<'_>, u16, &str); 8] = [
        ("/running.json", &[("host", "evil.example"), token], 421, "evil.example"),
        ("/running.json", &[("origin", "http://evil.example"), token], 403, "another origin"),
        ("/running.json", &[("sec-fetch-site", "cross-site"), token], 403, "another site"),
        ("/running.json", &[], 401, "a token is needed"),
        ("/running/projection/by_city/parked.json", &[], 401, "a token is needed"),
        ("/running/projection/none/parked.json", &[token], 404, "no projection \"none\""),
        ("/running/group/none/parked.json", &[token], 404, "no group \"none\""),
        ("/nothing", &[token], 404, "no such page"),
    ];
    for (path, headers, expected, words) in cases {
        let (status, body) = ask(&served, path, headers).await;
        assert_eq!(status, expected, "{path} {headers:?}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(words), "{path} {headers:?}: {error}");
    }
    let post = client().post(served.page("/running/projection/by_city/pause"));
    let refused = post.header(token.0, token.1).header("accept", "text/html, application/json");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    assert!(refused.text().await.unwrap().starts_with("{\"error\":\"this studio only shows"));

    let (_, page) = served.get("/nothing").await;
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
}

#[tokio::test]
async fn nothing_runs_beside_another_process_and_a_program_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let served = Served::new(Studio::follow(&Follower::open(store.path()).unwrap())).await;
    for path in ["/running.json", "/running/projection/by_city/parked.json"] {
        let (status, body) = ask(&served, path, &[]).await;
        assert_eq!(status, 404);
        assert!(body["error"].as_str().unwrap().contains("this studio reads beside it"), "{body}");
    }
}

/// Acting on a group that does not exist did nothing, and said that it was done.
#[tokio::test]
async fn a_group_that_does_not_exist_is_refused() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store).allow_writes()).await;
    for action in ["replay", "discard"] {
        let post = client().post(served.page(&format!("/running/group/none/{action}")));
        let post = post.header("origin", served.page("")).header("x-filmstrip-studio", "1");
        assert_eq!(post.send().await.unwrap().status().as_u16(), 404, "{action}");
    }
}
