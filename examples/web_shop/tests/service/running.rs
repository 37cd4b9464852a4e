//! The service as a process of its own, and a client of it.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

pub struct Service {
    process: Mutex<Child>,
    url: String,
    pub client: Client,
}

impl Service {
    /// Starts it on the store in `directory`, and returns when it listens.
    pub fn start(directory: &Path) -> Service {
        let mut process = Command::new(env!("CARGO_BIN_EXE_web_shop"))
            .args(["--listen", "127.0.0.1:0", "--store"])
            .arg(directory)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("it is a pipe"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let url = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        Service { process: Mutex::new(process), url, client }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.expect("an answer")
    }

    /// A customer, and the id.
    pub async fn customer(&self, email: &str) -> String {
        let body = serde_json::json!({"name": "Alice", "email": email});
        json(self.post("/customers", &body).await, 201).await["id"].as_str().expect("an id").into()
    }

    pub async fn receive(&self, article: &str, pieces: u32) {
        let body = serde_json::json!({ "pieces": pieces });
        json(self.post(&format!("/stock/{article}"), &body).await, 200).await;
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&self) {
        self.signal("-KILL");
        self.process.lock().expect("it is not poisoned").wait().expect("it has ended");
    }

    /// Asks it to end, and returns whether it did so without an error.
    pub fn terminate(&self) -> bool {
        self.signal("-TERM");
        let mut process = self.process.lock().expect("it is not poisoned");
        process.wait().expect("it has ended").success()
    }

    fn signal(&self, signal: &str) {
        let id = self.process.lock().expect("it is not poisoned").id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(sent.success());
    }
}

impl Drop for Service {
    /// A test that fails leaves no service behind.
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The body of an answer, which must have this status.
pub async fn json(response: Response, status: u16) -> Value {
    let (met, text) = (response.status().as_u16(), response.text().await.expect("a body"));
    assert_eq!(met, status, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

pub fn etag(response: &Response) -> String {
    response.headers()["etag"].to_str().expect("text").to_owned()
}
