//! Requests that are refused, and the headers of all answers.

use crate::common::{ByCity, Served, Shop, client, shop};
use filmstrip_studio::Studio;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Sends a request with these headers, and returns its status, what is said, and its headers.
async fn send(
    served: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String, HeaderMap) {
    let mut request = client().request(method, served.page(path));
    for (name, value) in headers {
        let (name, value) =
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, response.text().await.unwrap(), headers)
}

async fn get(served: &Served, path: &str, headers: &[(&str, &str)]) -> (u16, String, HeaderMap) {
    send(served, Method::GET, path, headers).await
}

fn host(served: &Served) -> String {
    served.page("").trim_start_matches("http://").to_owned()
}

/// A page of another name that resolves to this machine must not read the store.
#[tokio::test]
async fn a_host_that_was_not_allowed_is_refused() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store).allow_host("Studio.Example.org")).await;
    for refused in [
        "evil.example",
        "evil.example:7070",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.0.2.7",
        "0.0.0.0",
        "studio.example.org.evil.example",
        "[2001:db8::1]",
    ] {
        let (status, body, _) = get(&served, "/streams", &[("host", refused)]).await;
        assert_eq!(status, 421, "{refused}");
        assert!(!body.contains("Customer-1001"), "{refused}");
    }
    for allowed in [
        "127.0.0.1",
        "localhost:1234",
        "[::1]:80",
        "LOCALHOST",
        "studio.example.org",
        "studio.example.org:8443",
    ] {
        assert_eq!(get(&served, "/streams", &[("host", allowed)]).await.0, 200, "{allowed}");
    }
    let (status, ..) = get(&served, "/streams", &[("host", "a b")]).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store)).await;
    let own = format!("http://{}", host(&served));
    for refused in
        ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", "file://", "x"]
    {
        let (status, ..) = get(&served, "/streams", &[("origin", refused)]).await;
        assert_eq!(status, 403, "{refused}");
    }
    assert_eq!(get(&served, "/streams", &[("origin", &own)]).await.0, 200);
    let foreign = [("sec-fetch-site", "cross-site")];
    for mode in ["no-cors", "cors", "websocket"] {
        let headers = [foreign[0], ("sec-fetch-mode", mode)];
        assert_eq!(get(&served, "/streams", &headers).await.0, 403, "{mode}");
    }
    let framed = [foreign[0], ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    assert_eq!(get(&served, "/streams", &framed).await.0, 403);
    // A link to a frame that somebody has sent.
    let link = [foreign[0], ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert_eq!(get(&served, "/streams", &link).await.0, 200);
}

#[tokio::test]
async fn every_page_asks_for_the_token() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store).token("a-secret-token")).await;
    for path in [
        "/",
        "/streams",
        "/film/Customer-1001",
        "/payload/1",
        "/live/events",
        "/assets/0/studio.css",
        "/x",
    ] {
        assert_eq!(get(&served, path, &[]).await.0, 401, "{path}");
        let wrong = [("authorization", "Bearer a-secret-tokem")];
        assert_eq!(get(&served, path, &wrong).await.0, 401, "{path}");
    }
    for wrong in [
        "filmstrip_studio=",
        "filmstrip_studio=a-secret-toke",
        "x=a-secret-token",
        "xfilmstrip_studio=a-secret-token",
    ] {
        assert_eq!(get(&served, "/streams", &[("cookie", wrong)]).await.0, 401, "{wrong}");
    }
    assert_eq!(get(&served, "/streams?token=a-secret-tokens", &[]).await.0, 401);
    assert_eq!(
        get(&served, "/streams", &[("authorization", "Bearer a-secret-token")]).await.0,
        200
    );

    let (status, _, headers) =
        get(&served, "/film/Customer-1001?version=3&token=a-secret-token", &[]).await;
    assert_eq!(
        (status, &headers["location"]),
        (303, &"/film/Customer-1001?version=3".parse().unwrap())
    );
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(get(&served, "/streams", &[("cookie", cookie)]).await.0, 200);
    // An address that begins with two slashes would lead to another host.
    let (_, _, headers) = get(&served, "//evil.example/?token=a-secret-token", &[]).await;
    assert_eq!(headers["location"], "/evil.example/");
}

#[tokio::test]
async fn nothing_is_changed_unless_it_is_allowed_and_asked_for_by_the_studio() {
    let Shop { store, .. } = shop();
    let by_city = store.project(ByCity).start().unwrap();
    let studio = |store| Studio::new(store).projection(&by_city);
    let (shows, acts) =
        (Served::new(studio(&store)).await, Served::new(studio(&store).allow_writes()).await);
    let pause = "/running/projection/by_city/pause";
    let is_paused =
        || matches!(by_city.status().state, filmstrip::projection::ProjectionState::Paused);
    let header = ("x-filmstrip-studio", "1");

    let origin = format!("http://{}", host(&shows));
    let (status, body, _) = send(&shows, Method::POST, pause, &[("origin", &origin), header]).await;
    assert_eq!(status, 403);
    assert!(body.contains("Studio::allow_writes"), "{body}");

    let origin = format!("http://{}", host(&acts));
    for headers in [
        &[][..],
        &[header],
        &[("origin", &origin)],
        &[("origin", "http://evil.example"), header],
        &[("origin", "null"), header],
        &[("origin", &origin), ("sec-fetch-site", "cross-site"), header],
    ] {
        assert_eq!(send(&acts, Method::POST, pause, headers).await.0, 403, "{headers:?}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(send(&acts, method, pause, &[("origin", &origin), header]).await.0, 405);
    }
    assert_eq!(get(&acts, pause, &[]).await.0, 405);
    assert!(!is_paused());

    let same = [("origin", origin.as_str()), header];
    assert_eq!(send(&acts, Method::POST, pause, &same).await.0, 204);
    assert!(is_paused());
    assert_eq!(send(&acts, Method::POST, "/running/projection/by_city/resume", &same).await.0, 204);
    assert!(!is_paused());
    for unknown in [
        "/running/projection/other/pause",
        "/running/projection/by_city/drop",
        "/running/x/y/pause",
    ] {
        assert_eq!(send(&acts, Method::POST, unknown, &same).await.0, 404, "{unknown}");
    }
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_to_be_allowed_and_gets_a_token() {
    let Shop { store, .. } = shop();
    let refused = Studio::new(&store).bind(([0, 0, 0, 0], 0).into()).await;
    let error = refused.err().expect("refused");
    assert!(error.to_string().contains("0.0.0.0 can be reached from other machines"), "{error}");

    let server = Studio::new(&store).allow_remote().bind(([0, 0, 0, 0], 0).into()).await.unwrap();
    let url = server.url();
    let token = url.split("?token=").nth(1).expect("a token");
    assert_eq!(token.len(), 32);
    let port = crate::common::between(&url, "0.0.0.0:", "/").to_owned();
    let serving = tokio::spawn(server.run());
    let streams = format!("http://127.0.0.1:{port}/streams");
    let get = |host: &'static str, token: Option<&str>| {
        let mut request = client().get(&streams).header("host", host);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(get("192.0.2.7", None).await, 401);
    assert_eq!(get("192.0.2.7", Some(token)).await, 200);
    assert_eq!(get("evil.example", Some(token)).await, 421);
    serving.abort();
}

#[tokio::test]
async fn every_answer_is_guarded_by_its_headers() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store)).await;
    for path in [
        "/streams",
        "/film/Customer-1001",
        "/payload/1",
        "/nothing",
        "/film/None-1",
        "/live/events?tag=%00",
    ] {
        let (_, _, headers) = get(&served, path, &[]).await;
        let header = |name: &str| {
            headers.get(name).unwrap_or_else(|| panic!("{path}: {name}")).to_str().unwrap()
        };
        let csp = header("content-security-policy");
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(csp.split("; ").any(|met| met == directive), "{path}: {csp}");
        }
        assert!(!csp.contains("unsafe"), "{csp}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("cache-control"), "no-store");
    }
    let (_, _, headers) = get(&served, "/evil", &[("host", "evil.example")]).await;
    assert!(headers.contains_key("content-security-policy"));
}
