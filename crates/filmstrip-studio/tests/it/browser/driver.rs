//! A browser of a test's own, gone with the test.

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

const BROWSER: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";

/// Browsers at once. Each is several processes.
static PLACES: Semaphore = Semaphore::const_new(1);

/// How long something on a page may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Browser {
    pub(crate) client: Client,
}

/// Runs `body` with a browser, which ends with it, whatever happens.
pub(crate) async fn with_browser(body: impl AsyncFnOnce(&Browser)) {
    if !Path::new(BROWSER).exists() || !Path::new(DRIVER).exists() {
        let why = format!("{BROWSER} or {DRIVER} is not there");
        assert!(
            std::env::var_os("FILMSTRIP_BROWSER").is_none(),
            "{why}, and FILMSTRIP_BROWSER is set"
        );
        println!("skipped: {why}");
        return;
    }
    let _place = PLACES.acquire().await.unwrap();
    let profile = tempfile::tempdir().unwrap();
    let (mut driver, port) = start_driver(profile.path()).await;
    let browser = Browser { client: connect(port, profile.path()).await };
    let done = AssertUnwindSafe(body(&browser)).catch_unwind().await;
    browser.client.close().await.unwrap();
    driver.kill().await.unwrap();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

/// The driver and the port that it has chosen.
async fn start_driver(temporary: &Path) -> (Child, u16) {
    let mut driver = Command::new(DRIVER)
        .arg("--port=0")
        // What a browser keeps beside its profile goes with the test, too.
        .env("TMPDIR", temporary)
        .env("HOME", temporary)
        .env("XDG_CONFIG_HOME", temporary)
        .env("XDG_CACHE_HOME", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(port) = line.split("started successfully on port ").nth(1) {
            let port = port.trim_end_matches('.').parse().unwrap();
            // What it says later must not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (driver, port);
        }
    }
    panic!("{DRIVER} has not started");
}

async fn connect(port: u16, profile: &Path) -> Client {
    let profile = format!("--user-data-dir={}", profile.join("profile").display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--lang=en-US",
        &profile,
    ];
    let options = json!({"binary": BROWSER, "args": arguments});
    let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
    let Value::Object(wanted) = wanted else { unreachable!("it is written as an object") };
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(wanted);
    builder.connect(&format!("http://127.0.0.1:{port}")).await.unwrap()
}

/// A command of the driver that no standard has.
#[derive(Debug)]
struct Own(&'static str, Value);

impl WebDriverCompatibleCommand for Own {
    fn endpoint(
        &self,
        base: &Url,
        session: Option<&str>,
    ) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.expect("a session"), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

impl Browser {
    pub(crate) async fn open(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// Does what the developer tools can do.
    pub(crate) async fn tools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.client.issue_cmd(Own("goog/cdp/execute", body)).await.unwrap()
    }

    /// Sets the size of the window, and whether the person prefers darkness.
    pub(crate) async fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.tools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.tools("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// What went wrong on the page: errors of scripts, and what its policy has refused.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Own("se/log", json!({"type": "browser"}))).await.unwrap();
        let entries = log.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn find(&self, selector: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"))
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        self.script(&format!("return document.querySelector({selector:?}).innerText"))
            .await
            .to_string()
    }

    /// Waits until the expression is true on the page.
    pub(crate) async fn until(&self, expression: &str) {
        let begun = std::time::Instant::now();
        while self.script(&format!("return Boolean({expression})")).await != Value::Bool(true) {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {expression}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn keys(&self, keys: &str) {
        let presses =
            keys.chars().fold(KeyActions::new("keyboard".to_owned()), |presses, value| {
                presses.then(KeyAction::Down { value }).then(KeyAction::Up { value })
            });
        self.client.perform_actions(presses).await.unwrap();
    }

    pub(crate) async fn key(&self, key: Key) {
        self.keys(&char::from(key).to_string()).await;
    }
}
