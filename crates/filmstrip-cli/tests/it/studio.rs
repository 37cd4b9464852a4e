//! The studio, served by the command line beside a writer.

use crate::common::program;
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// Ends the server with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer to a request for `path`, its head included.
fn get(address: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_film_of_a_stream_is_shown_beside_its_writer_and_to_no_other_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let placed = NewEvent::json("Placed", &serde_json::json!({"cups": 7})).unwrap();
    store.append("Order-1", ExpectedVersion::NoStream, [placed]).unwrap();
    let mut served = program();
    served.args(["--json", "studio", "--port", "0"]).arg("-d").arg(directory.path());
    let mut served = Served(served.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = said["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let film = get(address, "/film/Order-1", address);
    assert!(film.starts_with("HTTP/1.1 200") && film.contains("Placed"), "{film}");
    store.append("Order-2", ExpectedVersion::NoStream, [NewEvent::bytes("Paid", "")]).unwrap();
    let film = get(address, "/film/Order-2", address);
    assert!(film.starts_with("HTTP/1.1 200") && film.contains("Paid"), "{film}");
    let refused = get(address, "/film/Order-1", "elsewhere.example.org");
    assert!(!refused.starts_with("HTTP/1.1 200") && !refused.contains("Placed"), "{refused}");
}
