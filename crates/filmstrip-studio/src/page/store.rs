//! The store itself: how much there is, where, and whether it is well.

use super::parts::{bytes, events, nothing, number, time, unit};
use super::running::confirmation;
use super::{Answer, Faulty, Page, Tab, growth};
use crate::limits::PAGE_ROWS;
use crate::place::Place;
use crate::shared::Shared;
use crate::text::Visible;
use crate::verifying::State as Verified;
use axum::extract::State;
use filmstrip::chrono::Utc;
use filmstrip::health::{DiskStats, Health, ReplicationStats, Stats, Writes};
use filmstrip::repair::Verification;
use maud::{Markup, html};
use std::sync::Arc;

/// The width of the bar that shows bytes on disk, in units of its own.
const BAR: u64 = 1_000;

pub(crate) async fn store(State(shared): State<Arc<Shared>>, place: Place) -> Answer {
    let read = shared.blocking(|shared| {
        let head = shared.source.head()?;
        let figures = match &shared.store {
            Some(store) => Some((store.stats()?, store.health()?)),
            None => None,
        };
        // Damage must not hide what the page says of the store.
        let overview = shared.source.overview().map_err(|error| error.to_string());
        Ok((head, figures, overview))
    });
    let (head, figures, overview) = read.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let path = shared.source.path().display().to_string();
    let body = html! {
        div.bar { h1 { "Store" } code { (Visible(&path)) } }
        @match &figures {
            Some((stats, health)) => {
                (writes(health))
                div.panels {
                    (growth::panels(&place, &overview))
                    (page(stats))
                    (verification(&place, &shared.verifying.state(), shared.guard.writes))
                }
                (confirmation())
            }
            None => {
                p.figure { strong { (number(head.get())) } (unit(head.get())) }
                div.panels { (growth::panels(&place, &overview)) }
                (nothing("The process that has the store open knows its other figures. This page reads beside it."))
            }
        }
    };
    let title = "Store".to_owned();
    Ok(Page { place, tab: Some(Tab::Store), title, script: Some("actions.js"), body })
}

fn page(stats: &Stats) -> Markup {
    let (commits, index, upkeep) = (&stats.commits, &stats.index, &stats.upkeep);
    let lacks = format!("{}, {}", events(index.unindexed_events), bytes(index.unindexed_bytes));
    let looked_up = index.cache_hits + index.cache_misses;
    let cache = format!("{} of {} look-ups", number(index.cache_hits), number(looked_up));
    html! {
        section { h2 { "Log" } dl.facts {
            (fact("head", number(stats.head.get())))
            (fact("commits since opened", number(commits.commits)))
            (fact("events since opened", number(commits.events)))
            (fact("groups", number(commits.groups)))
            (fact("conflicts", number(commits.conflicts)))
            (fact("waiting", number(commits.waiting)))
            (fact("open readers", number(stats.open_readers)))
        } }
        @if let Some(replication) = &stats.replication { (replica(replication)) }
        section { h2 { "Disk" } (disk(&stats.disk)) }
        section { h2 { "Index" } dl.facts {
            (fact("not yet indexed", lacks))
            (fact("sorted tables", number(index.tables)))
            (fact("compactions", number(index.compactions)))
            (fact("failures", number(index.failures)))
            (fact("rebuilds", number(index.rebuilds)))
            (fact("cache", cache))
        } }
        section { h2 { "Backups" } dl.facts {
            (fact("since opened", number(upkeep.backups)))
            (fact("failed", number(upkeep.backup_failures)))
            div { dt { "last" } dd { @match upkeep.last_backup { Some(at) => (time(at)), None => "none" } } }
        } }
    }
}

/// How a replica follows its source.
fn replica(replication: &ReplicationStats) -> Markup {
    let ago = |seconds: f64| match seconds.is_finite() {
        true => format!("{seconds:.1} s ago"),
        false => "not yet".to_owned(),
    };
    let state = match (replication.following, replication.stopped) {
        (true, _) => "following",
        (_, true) => "stopped",
        _ => "cannot hear its source",
    };
    html! {
        section { h2 { "Replica" } dl.facts {
            (fact("state", state.to_owned()))
            (fact("events behind", number(replication.lag)))
            (fact("had everything", ago(replication.lag_seconds)))
            (fact("heard its source", ago(replication.heard_seconds)))
            (fact("frames taken", number(replication.frames)))
            (fact("failed attempts", number(replication.retries)))
        } }
    }
}

fn fact(name: &str, value: String) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn writes(health: &Health) -> Markup {
    let faults = health.faults();
    html! {
        p.health role="status" {
            @match &health.writes {
                Writes::Accepting => span.badge.good { "accepts commits" },
                Writes::ReadOnly(error) => { span.badge.bad { "read-only" } " " (Visible(&error.to_string())) }
                Writes::Replica => span.badge.good { "replica" },
                Writes::Closed => span.badge.idle { "closed" },
                _ => span.badge.idle { "unknown" },
            }
            @for (name, error) in &faults { " " span.badge.bad { (Visible(name)) } " " (Visible(&error.to_string())) }
        }
    }
}

/// Bytes by kind, as one bar and in numbers.
fn disk(disk: &DiskStats) -> Markup {
    let kinds = disk.by_kind();
    let all: u64 = kinds.iter().map(|(_, bytes)| bytes).sum();
    let mut at = 0;
    let parts: Vec<(usize, u64, u64)> = kinds
        .iter()
        .enumerate()
        .map(|(kind, (_, bytes))| {
            let width = bytes.saturating_mul(BAR) / all.max(1);
            at += width;
            (kind, at - width, width)
        })
        .collect();
    html! {
        svg.disk viewBox=(format!("0 0 {BAR} 20")) preserveAspectRatio="none" aria-hidden="true" {
            @for (kind, x, width) in &parts {
                rect class=(format!("k{kind}")) x=(x) y="0" width=(width) height="20" {}
            }
        }
        dl.facts {
            @for (kind, (name, of_kind)) in kinds.iter().enumerate() {
                div { dt { span class=(format!("key k{kind}")) aria-hidden="true" {} (name) } dd { (bytes(*of_kind)) } }
            }
            (fact("together", bytes(all)))
        }
    }
}

fn verification(place: &Place, state: &Verified, writes: bool) -> Markup {
    html! {
        section {
            h2 { "Verification" }
            @match state {
                Verified::Never => p { "Not since this studio began." },
                Verified::Running { since, reached, head } => p id="verifying" role="status" {
                    progress max=(head) value=(reached) aria-label="Verified" {}
                    " " (number(reached.get())) " of " (number(head.get())) " events, after "
                    ((Utc::now() - *since).num_seconds()) " s"
                },
                Verified::Done { at, result } => {
                    @match result {
                        Ok(verified) => (found(verified)),
                        Err(error) => p.error { (Visible(error)) },
                    }
                    p.about { "At " (time(*at)) "." }
                }
            }
            @if writes && !matches!(state, Verified::Running { .. }) {
                div.buttons {
                    button type="button" hidden data-action=(place.page("/store/verify")) data-title="Verify the store"
                        data-confirm="Everything in the store is read and checked. Nothing is changed."
                        data-label="Verify" { "Verify" }
                }
            }
        }
    }
}

fn found(verified: &Verification) -> Markup {
    let all = verified.findings.len() as u64 + verified.more_findings;
    html! {
        @if verified.is_whole() {
            p { span.badge.good { "whole" } " " (events(verified.events)) " in "
                (number(verified.segments)) " segments, " (bytes(verified.bytes)) "." }
        } @else {
            p { span.badge.bad { "damaged" } " " (number(all)) " findings." }
            ul.findings {
                @for finding in verified.findings.iter().take(PAGE_ROWS) { li { (Visible(&finding.to_string())) } }
            }
        }
    }
}
