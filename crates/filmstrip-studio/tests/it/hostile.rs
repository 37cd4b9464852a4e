//! Events that are made to do something on a page: each is shown as text.

use crate::common::{Served, between, client};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{
    ExpectedVersion, Filter, Follower, HandlerError, Metadata, NewEvent, Projection, RecordedEvent,
    Store, StreamId, ViewWriter,
};
use filmstrip_studio::Studio;
use serde_json::json;
use std::time::Duration;

/// Texts that would be more than text if they were not escaped, or could not be seen.
pub(crate) const TEXTS: [(&str, &str); 34] = [
    ("script", "<script>window.hacked=1</script>"),
    ("image", "<img src=x onerror=window.hacked=1>"),
    ("svg", "<svg/onload=window.hacked=1>"),
    (
        "closed elements",
        "</dd></dl></section></main></body></html><script>window.hacked=1</script>",
    ),
    ("closed title", "</title><script>window.hacked=1</script>"),
    ("closed style", "</style><script>window.hacked=1</script>"),
    ("closed textarea", "</textarea><script>window.hacked=1</script>"),
    ("comment", "--><script>window.hacked=1</script><!--"),
    ("cdata", "]]><script>window.hacked=1</script>"),
    ("double quote", "\" onmouseover=window.hacked=1 autofocus onfocus=window.hacked=1 x=\""),
    ("single quote", "' onmouseover=window.hacked=1 autofocus onfocus=window.hacked=1 x='"),
    ("backtick", "` onmouseover=window.hacked=1 x=`"),
    ("address", "javascript:window.hacked=1"),
    ("data address", "data:text/html,<script>window.hacked=1</script>"),
    ("entities", "&lt;script&gt;window.hacked=1&lt;/script&gt; &#60;b&#62; &amp;"),
    ("UTF-7", "+ADw-script+AD4-window.hacked=1+ADw-/script+AD4-"),
    ("overlong look", "%3Cscript%3Ewindow.hacked=1%3C/script%3E"),
    ("template", "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1} <%= 1 %>"),
    ("iframe", "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>"),
    ("object", "<object data='javascript:window.hacked=1'></object>"),
    ("meta", "<meta http-equiv=refresh content='0;url=http://evil.example/'>"),
    ("base", "<base href='http://evil.example/'>"),
    ("style", "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/>"),
    ("form", "<form action=//evil.example><input name=q autofocus></form>"),
    ("math", "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1>"),
    ("right to left", "invoice\u{202E}fdp.exe"),
    ("isolates", "\u{2066}\u{2067}hidden\u{2069}\u{2069}"),
    ("zero width", "ad\u{200B}min\u{200D}\u{2060}\u{FEFF}"),
    ("soft hyphen", "pay\u{AD}pal"),
    ("controls", "a\u{0}b\u{7}c\u{1B}[31md\u{7F}e\u{9B}f"),
    ("lines", "a\r\nSet-Cookie: x=1\r\n\r\n<script>window.hacked=1</script>\u{2028}\u{2029}"),
    ("tags", "flag\u{E0041}\u{E007F}"),
    ("combining", "Z\u{351}\u{36F}\u{327}a\u{34F}\u{34F}\u{300}\u{300}\u{300}\u{300}l"),
    ("noncharacters", "\u{FFFE}\u{FFFF}\u{1FFFE}\u{F8FF}"),
];

/// One stream whose events carry every hostile text everywhere where text can be: in data, keys, types, tags, users,
/// entries and names.
pub(crate) fn hostile_store() -> (Store, Vec<StreamId>) {
    let store = Store::temporary().unwrap();
    let streams = write(&store, &TEXTS);
    (store, streams)
}

/// A stream of two events for each text.
fn write(store: &Store, texts: &[(&str, &str)]) -> Vec<StreamId> {
    let mut streams = Vec::new();
    for (kind, text) in texts.iter().copied() {
        let named: String = text.chars().filter(|char| !char.is_control()).collect();
        let metadata = Metadata::default().user(text).entry(text, text);
        let data = json!({"kind": kind, "text": text, text: [text, {text: text}]});
        let event =
            NewEvent::json(named.clone(), &data).unwrap().metadata(metadata).tag(named.clone());
        let stream = StreamId::new(format!("{named}-1")).unwrap();
        store.append(stream.clone(), ExpectedVersion::NoStream, [event]).unwrap();
        let raw = NewEvent::bytes("Raw", text.as_bytes().to_vec());
        store.append(stream.clone(), ExpectedVersion::Any, [raw]).unwrap();
        streams.push(stream);
    }
    streams
}

/// Fails at every event, with what is in it.
struct Fails;

impl Projection for Fails {
    const NAME: &'static str = "fails";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, _: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        Err(String::from_utf8_lossy(&event.payload).into())
    }
}

/// Whether a page has an element or an attribute that only an event can have brought.
fn brought(html: &str) -> Option<String> {
    let lower = html.to_lowercase();
    let elements = [
        "<script>",
        "<img",
        "<iframe",
        "<object",
        "<meta http",
        "<base",
        "<style",
        "<math",
        "<svg/",
        "<!--",
    ];
    let element = elements.into_iter().find(|element| lower.contains(element));
    // Attributes are quoted, and quotation marks in texts are escaped: so ` on…=` outside of a tag's text is text.
    let tags = lower.split('<').skip(1).filter_map(|piece| piece.split_once('>'));
    let handler = tags
        .map(|(tag, _)| outside_of_quotes(tag))
        .find(|tag| tag.contains(" on") || tag.contains(" style"));
    element.map(str::to_owned).or(handler)
}

fn outside_of_quotes(tag: &str) -> String {
    tag.split('"').step_by(2).collect()
}

#[tokio::test]
async fn hostile_texts_are_escaped_on_every_page() {
    assert!(brought("<p onclick=x>").is_some() && brought("<p title=\" onclick=x\">").is_none());
    let (store, streams) = hostile_store();
    let served = Served::new(Studio::new(&store)).await;
    let mut pages: Vec<String> =
        ["/streams", "/live", "/streams?after=Z", "/store"].map(str::to_owned).into();
    for stream in &streams {
        let name: String = stream.as_str().bytes().map(|byte| format!("%{byte:02X}")).collect();
        for version in [1, 2, 99] {
            pages.push(format!("/film/{name}?version={version}"));
        }
    }
    for event in store.read_all().iter().unwrap().step_by(2) {
        pages.push(format!("/why/{}", event.unwrap().id));
    }
    for (_, text) in TEXTS {
        let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [
            "/streams?prefix=",
            "/go?q=",
            "/live?type=",
            "/views/",
            "/film/x?version=",
            "/why/",
            "/film/",
            "/payload/",
            "/film?stream=",
            "/nothing/",
        ] {
            pages.push(format!("{path}{text}"));
        }
    }
    let mut shown = 0;
    for page in &pages {
        let response = client().get(served.page(page)).send().await.unwrap();
        let kind =
            response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let html = response.text().await.unwrap();
        assert_eq!(brought(&html), None, "{page}");
        // Fields have what was typed in them.
        let odd = odd(&html);
        assert!(odd.is_none() || page.contains('?'), "{page}: {odd:?}");
        if kind.is_some_and(|kind| kind.starts_with("text/html")) {
            shown += 1;
        }
    }
    assert!(shown > 300, "{shown} pages");
}

/// A character that cannot be seen, or changes the order of others.
fn odd(html: &str) -> Option<char> {
    let is_odd = |c: &char| "\u{202E}\u{200B}\u{2066}\u{FEFF}".contains(*c);
    html.chars().find(|c| is_odd(c) || c.is_control() && *c != '\n')
}

/// Each kind is in a list of the largest streams, of what is parked and its error, in the question before an action,
/// and in the name of the directory.
#[tokio::test]
async fn hostile_texts_are_escaped_where_the_store_and_what_runs_are_shown() {
    for texts in TEXTS.chunks(10) {
        let directory = tempfile::tempdir().unwrap();
        let name = "a<img src=x onerror=window.hacked=1>\u{202E}b";
        let store = Store::open(directory.path().join(name)).unwrap();
        let streams = write(&store, texts);
        let park = OnError::default().retries(0).then(ErrorAction::ParkEvent);
        let fails = store.project(Fails).on_error(park).start().unwrap();
        fails.wait_for(store.head(), Duration::from_secs(60)).unwrap();
        let follower = Follower::open(store.path()).unwrap();
        let own = Served::new(Studio::new(&store).projection(&fails).allow_writes()).await;
        let beside = Served::new(Studio::follow(&follower)).await;
        for (served, page, rows) in [
            (&own, "/store", 1),
            (&beside, "/store", 1),
            (&beside, "/streams", 1),
            (&own, "/running", 2),
        ] {
            let (status, html) = served.get(page).await;
            assert_eq!((status, brought(&html), odd(&html)), (200, None, None), "{page}");
            let list = match page {
                "/store" => between(&html, "id=\"largest\"", "</section>"),
                "/running" => between(&html, "<ul class=\"parked\">", "</ul>"),
                _ => between(&html, "<table class=\"streams\">", "</table>"),
            };
            assert_eq!(
                list.matches("href=\"/film").count(),
                rows * streams.len(),
                "{page}: {list}"
            );
        }
    }
}

/// A page shows the beginning, and leads to the rest as a file.
#[tokio::test]
async fn a_payload_of_16_mib_is_shown_in_part_and_saved_as_a_whole() {
    let store = Store::temporary().unwrap();
    let long = "<b>".repeat((16 << 20) / 3 - 4_096);
    let event = NewEvent::json("Long", &json!({"first": 1, "text": long})).unwrap();
    store.append("Long-1", ExpectedVersion::NoStream, [event]).unwrap();
    let served = Served::new(Studio::new(&store)).await;
    let (status, html) = served.get("/film/Long-1").await;
    assert_eq!(status, 200);
    assert!(html.len() < 64 << 10, "{} bytes", html.len());
    assert!(html.contains("The first 64 KiB of 15 MiB") && !html.contains("<b>"), "{html}");
    let response = client().get(served.page("/payload/1")).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(header("content-disposition"), "attachment; filename=\"event-1.json.txt\"");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(response.bytes().await.unwrap().len() > 15 << 20);
}

#[tokio::test]
async fn deep_and_broken_payloads_overflow_nothing() {
    let store = Store::temporary().unwrap();
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let payloads = [
        ("Deep", deep.into_bytes()),
        ("Binary", (0..=255).collect()),
        ("Empty", Vec::new()),
        ("BrokenUtf8", b"abc\xFF\xC0<script>".to_vec()),
        ("CutUtf8", b"abc\xE2\x82".to_vec()),
    ];
    for (name, payload) in payloads {
        store.append("Odd-1", ExpectedVersion::Any, [NewEvent::bytes(name, payload)]).unwrap();
    }
    let wide: serde_json::Map<_, _> = (0..50_000).map(|n| (format!("k{n}"), json!(n))).collect();
    store.append("Odd-1", ExpectedVersion::Any, [NewEvent::json("Wide", &wide).unwrap()]).unwrap();
    let mut nested = json!(1);
    for _ in 0..120 {
        nested = json!({"<i>": nested});
    }
    store
        .append("Odd-1", ExpectedVersion::Any, [NewEvent::json("Nested", &nested).unwrap()])
        .unwrap();
    let served = Served::new(Studio::new(&store)).await;
    for version in 1..=7 {
        let (status, html) = served.get(&format!("/film/Odd-1?version={version}")).await;
        assert_eq!(status, 200, "version {version}");
        assert!(html.len() < 512 << 10, "version {version}: {} bytes", html.len());
        assert_eq!(brought(&html), None, "version {version}");
    }
    let (_, html) = served.get("/film/Odd-1?version=7").await;
    assert!(html.contains("89 values are nested more deeply"), "{html}");
}
