//! `projections`, `groups` and `processes`: what runs in an application, by the studio that it serves.

mod list;
mod studio;

use crate::fault::Fault;
use crate::out::Out;
use clap::{Args, Subcommand};
use serde_json::json;
use studio::Studio;

/// How the studio is reached; the end of the help of each command.
macro_rules! about_studios {
    ($examples:literal, $json:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\n\nThe application must serve a studio (`Studio::new(&store)`), and register its projections and \
             processes there. The\naddress may contain the token, as the application prints it. Changes need \
             `Studio::allow_writes`.\n",
            $json,
        )
    };
}

const PROJECTIONS: &str = about_studios!(
    "  filmstrip projections list --url http://127.0.0.1:7070
  filmstrip projections parked by_city
  filmstrip projections rebuild by_city",
    "With --json: list prints kind, name, state, position, lag, lag_seconds, parked, retries, faults, deadlines, error;\nparked prints what, position, error, attempts, parked_at, instance; the others print done, kind, name, instance."
);
const GROUPS: &str = about_studios!(
    "  filmstrip groups list --url http://127.0.0.1:7070
  filmstrip groups replay mailer",
    "`list` lists groups with a running consumer. With --json: as `filmstrip projections`."
);
const PROCESSES: &str = about_studios!(
    "  filmstrip processes list --url http://127.0.0.1:7070
  filmstrip processes parked Shipping
  filmstrip processes replay Shipping 4711
  filmstrip processes replay Shipping --all",
    "With --json: as `filmstrip projections`."
);

/// The application's studio.
#[derive(Args)]
pub(crate) struct Address {
    /// The address of the application's studio
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "FILMSTRIP_STUDIO",
        hide_env_values = true
    )]
    url: Option<String>,

    /// The studio's token, if the address does not contain it
    #[arg(
        long,
        value_name = "TOKEN",
        global = true,
        env = "FILMSTRIP_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

#[derive(Args)]
#[command(after_help = PROJECTIONS)]
pub(crate) struct Projections {
    #[command(flatten)]
    address: Address,
    #[command(subcommand)]
    task: OfProjection,
}

#[derive(Args)]
#[command(after_help = GROUPS)]
pub(crate) struct Groups {
    #[command(flatten)]
    address: Address,
    #[command(subcommand)]
    task: OfGroup,
}

#[derive(Args)]
#[command(after_help = PROCESSES)]
pub(crate) struct Processes {
    #[command(flatten)]
    address: Address,
    #[command(subcommand)]
    task: OfProcess,
}

#[derive(Subcommand)]
enum OfProjection {
    /// List projections, with their state and lag
    List,
    /// Stop a projection from following the log until it is resumed
    Pause(Named),
    /// Resume a projection, and retry the event at which it stopped
    Resume(Named),
    /// Rebuild a view; the present one is served until the new one is complete
    Rebuild(Named),
    /// List the events that a projection has parked
    Parked(Named),
    /// Retry a projection's parked events; what fails is parked again
    Replay(Named),
    /// Discard parked events for good
    Discard(Final),
}

#[derive(Subcommand)]
enum OfGroup {
    /// List groups with a running consumer, with their state and lag
    List,
    /// List the events that a group has parked
    Parked(Named),
    /// Deliver a group's parked events again; what fails is parked again
    Replay(Named),
    /// Discard parked events for good
    Discard(Final),
}

#[derive(Subcommand)]
enum OfProcess {
    /// List processes, with their state and lag
    List,
    /// Stop a process from following the log until it is resumed
    Pause(Named),
    /// Resume a process, and retry the step at which it stopped
    Resume(Named),
    /// List the instances and steps that a process has parked
    Parked(Named),
    /// Retry what an instance has parked, or all of them with --all; what fails is parked again
    Replay(Instances),
    /// Discard for good what an instance has parked, or all of them with --all
    Discard(FinalInstances),
}

#[derive(Args)]
struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Args)]
struct Final {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,

    /// Confirm it: this cannot be undone
    #[arg(long, required = true)]
    yes: bool,
}

#[derive(Args)]
struct Instances {
    /// The name of the process
    #[arg(value_name = "NAME")]
    name: String,

    /// The instance, as `parked` lists it; "" for events that the process could not route
    #[arg(value_name = "INSTANCE", required_unless_present = "all")]
    instance: Option<String>,

    /// Everything that the process has parked
    #[arg(long, conflicts_with = "instance")]
    all: bool,
}

#[derive(Args)]
struct FinalInstances {
    #[command(flatten)]
    of: Instances,

    /// Confirm it: this cannot be undone
    #[arg(long, required = true)]
    yes: bool,
}

/// What is asked of a studio.
enum Task<'a> {
    List,
    Parked(&'a str),
    Act { action: &'static str, name: &'a str, instance: Option<&'a str> },
}

pub(crate) fn projections(options: &Projections, out: &mut Out) -> Result<(), Fault> {
    use OfProjection::{Discard, List, Parked, Pause, Rebuild, Replay, Resume};
    let task = match &options.task {
        List => Task::List,
        Parked(of) => Task::Parked(&of.name),
        Pause(of) => act("pause", &of.name),
        Resume(of) => act("resume", &of.name),
        Rebuild(of) => act("rebuild", &of.name),
        Replay(of) => act("replay", &of.name),
        Discard(of) => act("discard", &of.name),
    };
    run(&options.address, "projection", &task, out)
}

pub(crate) fn groups(options: &Groups, out: &mut Out) -> Result<(), Fault> {
    let task = match &options.task {
        OfGroup::List => Task::List,
        OfGroup::Parked(of) => Task::Parked(&of.name),
        OfGroup::Replay(of) => act("replay", &of.name),
        OfGroup::Discard(of) => act("discard", &of.name),
    };
    run(&options.address, "group", &task, out)
}

pub(crate) fn processes(options: &Processes, out: &mut Out) -> Result<(), Fault> {
    let task = match &options.task {
        OfProcess::List => Task::List,
        OfProcess::Parked(of) => Task::Parked(&of.name),
        OfProcess::Pause(of) => act("pause", &of.name),
        OfProcess::Resume(of) => act("resume", &of.name),
        OfProcess::Replay(of) => act_on("replay", "replay-all", of),
        OfProcess::Discard(of) => act_on("discard", "discard-all", &of.of),
    };
    run(&options.address, "process", &task, out)
}

fn act<'a>(action: &'static str, name: &'a str) -> Task<'a> {
    Task::Act { action, name, instance: None }
}

/// Something that is done with an instance, or with each of them.
fn act_on<'a>(one: &'static str, all: &'static str, of: &'a Instances) -> Task<'a> {
    match &of.instance {
        Some(instance) => Task::Act { action: one, name: &of.name, instance: Some(instance) },
        None => act(all, &of.name),
    }
}

fn run(address: &Address, kind: &'static str, task: &Task<'_>, out: &mut Out) -> Result<(), Fault> {
    let studio = Studio::at(address.url.as_deref(), address.token.as_deref())?;
    match *task {
        Task::List => list::running(kind, &studio.running()?, out),
        Task::Parked(name) => list::parked(&studio.parked(kind, name)?, out),
        Task::Act { action, name, instance } => {
            studio.act(kind, name, action, instance)?;
            match out.json {
                true => out.document(&json!({
                    "done": action, "kind": kind, "name": name, "instance": instance,
                })),
                false => out.line(format!("done: {action} {kind} {}", crate::text::escaped(name))),
            }
        }
    }
}
