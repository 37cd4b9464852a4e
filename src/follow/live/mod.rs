//! How subscriptions get their events: one thread reads for all that are live, and those that lag read for themselves.
//!
//! * An [`Inbox`](inbox::Inbox) is what one subscription was handed and has not taken. While it is live, it is in the
//!   [`Roster`](roster::Roster), whose thread reads each new frame once, compares each event with the filters of all of
//!   them at once, and hands it to those that want it. It never waits: who has no room leaves the roster.
//! * Who takes from an inbox that is not live reads the log on its own thread, from where the inbox ends. At the
//!   head it joins the roster: in one step, so that nothing is missing and nothing comes twice.
//! * So there is no thread for a subscription. One that nobody takes from, and one that wants nothing of what is
//!   appended, cost a writer nothing: it does not even wake the thread, if no filter wants what it appends.

pub(crate) mod inbox;
pub(crate) mod reader;
pub(crate) mod roster;
pub(crate) mod taking;

#[cfg(test)]
mod tests;
