//! The server for agents: its tools read beside a writer, and nothing that it is asked changes the store.

use crate::common::{PATIENCE, Writer, contents, documents, id, program, refused, run, sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tempfile::tempdir;

/// An agent's side of the protocol.
struct Agent {
    child: Child,
    to: Option<ChildStdin>,
    /// The lines that the server writes.
    from: Receiver<String>,
    asked: u64,
}

impl Agent {
    fn of(store: &Path) -> Agent {
        let mut command = program();
        command.arg("-d").arg(store).arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, lines) =
            (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()).lines());
        let (tell, from) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let mut agent = Agent { child, to, from, asked: 0 };
        let client = json!({ "name": "test", "version": "1" });
        let params =
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        let begun = agent.ask("initialize", params);
        assert_eq!(begun["result"]["serverInfo"]["name"], "filmstrip", "{begun}");
        assert!(begun["result"]["capabilities"]["tools"].is_object(), "{begun}");
        agent.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        agent
    }

    fn say(&mut self, message: &Value) {
        let to = self.to.as_mut().unwrap();
        writeln!(to, "{message}").unwrap();
        to.flush().unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        self.say(
            &json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params }),
        );
        let answer: Value =
            serde_json::from_str(&self.from.recv_timeout(PATIENCE).expect("an answer")).unwrap();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(self.asked)));
        answer
    }

    /// What a tool says, and whether that is an error.
    fn call(&mut self, tool: &str, arguments: Value) -> (String, bool) {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        (text.to_owned(), result["isError"].as_bool().unwrap_or(false))
    }

    #[track_caller]
    fn documents(&mut self, tool: &str, arguments: Value) -> Vec<Value> {
        let (text, is_error) = self.call(tool, arguments);
        assert!(!is_error, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends the input, and waits until the server has ended.
    fn end(mut self) {
        drop(self.to.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn an_agent_is_told_of_tools_that_only_read_and_each_of_them_answers() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let before = contents(directory.path());
    let mut agent = Agent::of(directory.path());
    let tools = agent.ask("tools/list", json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    let names: BTreeSet<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["film", "show", "state", "stats", "streams", "tail", "top", "why"])
    );
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object");
    }
    let answers: [(&str, Value, &[&str]); 7] = [
        ("stats", json!({}), &["stats"]),
        (
            "streams",
            json!({ "category": "Order", "limit": 1 }),
            &["streams", "--category", "Order", "--limit", "1"],
        ),
        (
            "tail",
            json!({ "type": ["Placed", "Paid"], "events": 2 }),
            &["tail", "-n", "2", "--type", "Placed", "--type", "Paid"],
        ),
        ("show", json!({ "what": id(1).to_string() }), &["show", "1"]),
        ("film", json!({ "stream": "Order-1", "from": 2 }), &["film", "Order-1", "--from", "2"]),
        ("why", json!({ "what": "Order-1" }), &["why", "Order-1"]),
        ("top", json!({ "number": 2 }), &["top", "-n", "2"]),
    ];
    for (tool, arguments, command) in answers {
        assert_eq!(
            agent.documents(tool, arguments),
            documents(directory.path(), command),
            "{tool}"
        );
    }
    agent.end();
    assert!(contents(directory.path()) == before, "an agent has changed something");
}

#[test]
fn an_agent_is_told_the_state_as_of_a_time() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let writer = Writer::on(directory.path());
    let mut agent = Agent::of(directory.path());
    let mut city = |as_of: Value| {
        let state =
            agent.documents("state", json!({ "stream": "Order-1", "as_of": as_of })).remove(0);
        (state["version"].as_u64().unwrap(), state["fields"]["address.city"].clone())
    };
    assert_eq!(city(json!("2025-11-27T14:00:00.5Z")), (1, json!("Boston")));
    assert_eq!(city(Value::Null), (3, json!("Cambridge")));
    // What is written meanwhile is seen.
    writer.wait_for(1);
    let clock = agent.documents("state", json!({ "stream": "Clock-1" })).remove(0);
    assert!(clock["fields"]["Ticked"].is_u64(), "{clock}");
    agent.end();
}

#[test]
fn what_an_agent_asks_wrongly_is_refused_with_a_reason_and_the_server_goes_on() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let before = contents(directory.path());
    let mut agent = Agent::of(directory.path());
    let cases = [
        ("show", json!({ "what": "Order-9" }), "no stream Order-9"),
        ("show", json!({}), "show needs \"what\""),
        ("show", json!({ "what": { "a": 1 } }), "must be a text or a number"),
        ("tail", json!({ "store": "/etc" }), "tail takes no \"store\""),
        ("state", json!({ "stream": "Order-1", "as_of": "2020-01-01T00:00:00Z" }), "is younger"),
        ("state", json!({ "stream": "Order-1", "as_of": "yesterday" }), "yesterday"),
        // What looks like an option is none.
        ("show", json!({ "what": "--help" }), "no stream --help"),
        ("film", json!({ "stream": "-d/tmp" }), "no stream -d/tmp"),
    ];
    for (tool, arguments, words) in cases {
        let (text, is_error) = agent.call(tool, arguments);
        assert!(is_error && text.contains(words), "{words:?} is not in {text}");
    }
    for tool in ["import", "verify", "repair", "export", "backup"] {
        let answer = agent.ask("tools/call", json!({ "name": tool, "arguments": {} }));
        assert!(
            answer["error"]["message"].as_str().unwrap().contains("there is no tool"),
            "{answer}"
        );
    }
    assert_eq!(agent.documents("stats", json!({}))[0]["events"], 7);
    agent.end();
    assert!(contents(directory.path()) == before, "an agent has changed something");
    refused(&run(&directory.path().join("absent"), &["mcp"]), &["absent"]);
}

#[test]
fn an_answer_that_is_too_long_is_refused() {
    let directory = tempdir().unwrap();
    let store = filmstrip::Store::open(directory.path()).unwrap();
    for _ in 0..3 {
        let event = filmstrip::NewEvent::json("Written", &"x".repeat(400_000)).unwrap();
        store.append("A-1", filmstrip::ExpectedVersion::Any, [event]).unwrap();
    }
    let mut agent = Agent::of(directory.path());
    let (text, is_error) = agent.call("show", json!({ "what": "A-1" }));
    assert!(is_error && text.contains("longer than 1048576 bytes; ask for less"), "{text}");
    assert_eq!(agent.documents("show", json!({ "what": "A-1", "events": 2 })).len(), 2);
    agent.end();
}
