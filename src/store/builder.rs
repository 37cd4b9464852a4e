//! Opening a store: its settings, and the wiring of everything beneath it.

use crate::journal::manifest::Role;
#[cfg(feature = "erasure")]
use crate::keyring::Keys;
use crate::kv::database::opening::refuse_forked;
use crate::log::engine::{Engine, LogOptions};
use crate::log::handle::LogHandle;
use crate::log::indexer::managed::Bounds;
#[cfg(feature = "erasure")]
use crate::log::privacy::state::Privacy;
use crate::log::replica::applier;
use crate::log::replica::source::FrameSource;
use crate::model::projection::registry::Projections;
use crate::storage::disk::{Disk, RealDisk};
use crate::store::directory::{Directory, new_store};
use crate::store::scratch::{Purpose, STORE, Scratch};
use crate::store::{Store, StoreParts};
use crate::telemetry::Observers;
use crate::telemetry::context::TraceContext;
#[cfg(feature = "metrics")]
use crate::telemetry::instruments::Instruments;
use crate::value::clock::{Clock, Micros, SystemClock};
use crate::value::error::{Error, Result};
use crate::value::fork::Owned;
use crate::value::limits::CACHE_BYTES_DEFAULT;
use crate::views;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Store {
    /// Opens the store in the directory `path`, creating it if that is empty or absent. A `lost+found` at the
    /// top of a volume does not count.
    ///
    /// The path is made absolute, and its symbolic links are resolved, once: later changes of the working directory or
    /// of a link have no effect. Created files have at most the permissions of the directory. If the directory is
    /// renamed, removed or replaced while the store is open, calls that must create a file fail with
    /// [`Moved`](crate::ErrorKind::Moved), an append at the latest when the segment is full.
    ///
    /// # Errors
    /// * [`Locked`](crate::ErrorKind::Locked): it is open already, here or in another process. A process that was
    ///   forked from the one which had it open keeps it locked while it lives. If the parent was killed while it was
    ///   starting another program, that lasts a moment.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): the journal is damaged; the error names the place.
    /// * [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): the directory holds something else, which the error
    ///   names. Nothing is changed in it.
    /// * [`StorageFull`](crate::ErrorKind::StorageFull): opening needs some MiB. A [`Follower`](crate::Follower) reads
    ///   the store meanwhile, and needs none.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        Store::builder().open(path)
    }

    /// Opens a real store, with the same durability, in a temporary directory that is removed with it: for tests.
    ///
    /// # Errors
    /// Those of [`open`](Store::open).
    pub fn temporary() -> Result<Store> {
        Store::builder().temporary()
    }

    /// Settings for opening a store.
    pub fn builder() -> StoreBuilder {
        StoreBuilder::default()
    }
}

/// Settings for opening a store. None of them makes an acknowledged commit less than durable.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// let store = filmstrip::Store::builder()
///     .cache_bytes(256 << 20)
///     .open(directory.path().join("orders"))?;
/// assert_eq!(store.head().get(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until it opens a store"]
pub struct StoreBuilder {
    cache_bytes: u64,
    clock: Box<dyn Clock>,
    disk: Arc<dyn Disk>,
    bounds: Bounds,
    traces: Option<Arc<dyn TraceContext>>,
    source: Option<Box<dyn FrameSource>>,
    #[cfg(feature = "metrics")]
    metrics_name: Option<String>,
    #[cfg(feature = "erasure")]
    keys: Option<Arc<dyn Keys>>,
}

impl Default for StoreBuilder {
    fn default() -> StoreBuilder {
        StoreBuilder {
            cache_bytes: CACHE_BYTES_DEFAULT,
            clock: Box::new(SystemClock),
            disk: Arc::new(RealDisk),
            bounds: Bounds::default(),
            traces: None,
            source: None,
            #[cfg(feature = "metrics")]
            metrics_name: None,
            #[cfg(feature = "erasure")]
            keys: None,
        }
    }
}

impl StoreBuilder {
    /// Sets how much memory the index may use to cache what it read: 64 MiB by default. Views
    /// may use as much again. Sizes count as on disk; small rows take up to four times as
    /// much in memory, plus about 50 bytes for each row.
    pub fn cache_bytes(mut self, bytes: u64) -> StoreBuilder {
        self.cache_bytes = bytes;
        self
    }

    /// Sets the source of times, in place of the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> StoreBuilder {
        self.clock = Box::new(clock);
        self
    }

    /// Sets how the store learns which trace a command is part of, and tells which traces a follower continues.
    ///
    /// The [`traceparent`](TraceContext::traceparent) that it returns when a command begins (in a repository, a bus, a
    /// transaction, or the reaction of a process) becomes the entry `traceparent` of the metadata of the command's
    /// events, unless they have one. Spans in which a projection, a process or an effect handles such an event are
    /// [linked](TraceContext::link) to that trace. Events that the application appends itself get their metadata from
    /// it, too, for it compares them with a repetition byte by byte: use [`Store::metadata`].
    ///
    /// ```
    /// use filmstrip::trace::{Span, TraceContext};
    /// use filmstrip::Store;
    /// /// An application with OpenTelemetry takes it from its context, and adds a link to the span.
    /// struct Traces;
    /// impl TraceContext for Traces {
    ///     fn traceparent(&self) -> Option<String> {
    ///         Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned())
    ///     }
    ///     fn link(&self, span: &Span, traceparent: &str) {
    ///         let _ = (span, traceparent); // span.add_link(…), with the crate tracing-opentelemetry
    ///     }
    /// }
    /// # let directory = tempfile::tempdir()?;
    /// let store = Store::builder().trace_context(Traces).open(directory.path())?;
    /// assert!(store.metadata().entries.contains_key("traceparent"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace_context(mut self, traces: impl TraceContext) -> StoreBuilder {
        self.traces = Some(Arc::new(traces));
        self
    }

    /// Sets the label `store` of this store's metrics, to tell several stores of a process apart: by default the name
    /// of its directory. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub fn metrics_name(mut self, name: impl Into<String>) -> StoreBuilder {
        self.metrics_name = Some(name.into());
        self
    }

    /// Sets where the keys of data subjects come from: a [`KeyDirectory`](crate::erasure::KeyDirectory), or a key
    /// service. The store then takes [private events](crate::NewEvent::private), and shows them. To go on using the
    /// keys yourself, give it an `Arc` of them.
    ///
    /// Without keys, private events are read as [sealed](crate::read::PayloadFormat::Sealed), and none can be appended.
    /// If somebody [was forgotten](Store::forget) and the keys still have a key of that subject's, because they were
    /// restored from a backup, opening the store destroys it; opening fails if it cannot. Needs the feature `erasure`.
    #[cfg(feature = "erasure")]
    pub fn keys(mut self, keys: impl Keys + 'static) -> StoreBuilder {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Opens the store as a replica, whose events come from `source`.
    ///
    /// A replica reads, indexes, projects and is followed as any store, and refuses commits with
    /// [`Replica`](crate::ErrorKind::Replica). So consumer groups and processes, which write, run on its source and not
    /// here. Its journal is equal to the beginning of its source's, byte by byte: each frame is checked by the hash
    /// chain before it is written, and one that does not follow stops the replica with
    /// [`Diverged`](crate::ErrorKind::Diverged). What is shown is durable here.
    ///
    /// Its directory is empty, and then everything comes from the source; or it is a backup of the source that was
    /// never opened, and then the rest does; or it was a replica before. A replica cannot be opened without this
    /// setting until it is [promoted](Store::promote). The source need not be there: [`Store::replication`] tells how
    /// far the replica is.
    ///
    /// ```
    /// use filmstrip::replica::StoreDirectory;
    /// use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store};
    /// use std::time::Duration;
    /// # let directory = tempfile::tempdir()?;
    /// # let (orders, copy) = (directory.path().join("orders"), directory.path().join("copy"));
    /// let store = Store::open(&orders)?; // in one process
    /// let placed = || NewEvent::json("Placed", &7);
    /// let appended = store.append("Order-1", ExpectedVersion::NoStream, [placed()?])?;
    ///
    /// let replica = Store::builder().replica(StoreDirectory::at(&orders)).open(&copy)?; // in another
    /// replica.wait_for(appended.position, Duration::from_secs(10))?;
    /// assert_eq!(replica.read_stream("Order-1").collect()?.len(), 1);
    /// assert_eq!(replica.head_hash(), store.head_hash());
    /// let refused = replica.append("Order-2", ExpectedVersion::NoStream, [placed()?]).unwrap_err();
    /// assert_eq!(filmstrip::Error::from(refused).kind(), ErrorKind::Replica);
    ///
    /// store.close()?; // and never opened again
    /// replica.promote()?;
    /// replica.append("Order-2", ExpectedVersion::NoStream, [placed()?])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replica(mut self, source: impl FrameSource) -> StoreBuilder {
        self.source = Some(Box::new(source));
        self
    }

    /// What the engine tells about the store in `path`.
    fn observers(&mut self, path: &Path) -> Observers {
        let traces = self.traces.take();
        #[cfg(feature = "metrics")]
        {
            let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = self.metrics_name.take().unwrap_or_else(name);
            Observers { instruments: Instruments::new(&name), traces }
        }
        #[cfg(not(feature = "metrics"))]
        {
            let _ = path;
            Observers { traces, ..Observers::default() }
        }
    }

    /// Bounds of what the index may lack, small enough for a test to meet them.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the proofs")]
    pub(crate) fn bounds(mut self, bounds: Bounds) -> StoreBuilder {
        self.bounds = bounds;
        self
    }

    /// A disk that fails as a test wants it to.
    #[cfg(test)]
    pub(crate) fn disk(mut self, disk: Arc<dyn Disk>) -> StoreBuilder {
        self.disk = disk;
        self
    }

    /// Opens the store in the directory `path`, creating it if that is empty or absent.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        self.open_in(path.as_ref().to_owned(), None)
    }

    /// Opens a store in a temporary directory that is removed with it.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn temporary(self) -> Result<Store> {
        let directory = Scratch::new(Purpose::Store)?;
        self.open_in(directory.path().join(STORE), Some(directory))
    }

    fn open_in(mut self, path: PathBuf, temporary: Option<Scratch>) -> Result<Store> {
        let observers = self.observers(&path);
        #[cfg(feature = "erasure")]
        let keys = self.keys.take();
        let StoreBuilder { cache_bytes, clock, disk, bounds, mut source, .. } = self;
        refuse_forked()?;
        let role = if source.is_some() { Role::Replica } else { Role::Store };
        // Before a backup there becomes a replica.
        if source.as_ref().is_some_and(|source| source.reads_from(&path)) {
            let message =
                format!("{} is its own source: a replica follows another store", path.display());
            return Err(Error::invalid(message));
        }
        let new = || match &mut source {
            Some(source) => source.store().map(|store| (store.id, Micros::of(store.created))),
            None => Ok(new_store(&*clock)),
        };
        let Directory { manifest, lock, disk } = Directory::open(&path, &disk, role, new)?;
        let directory = Arc::clone(lock.held());
        let store = manifest.store;
        let engine = Engine::open(LogOptions {
            #[cfg(feature = "erasure")]
            privacy: Privacy::new(keys, Arc::clone(&directory), Arc::clone(&disk), &manifest),
            directory: Arc::clone(&directory),
            store,
            cache_bytes,
            clock,
            disk,
            bounds,
            observers,
            role,
        })?;
        if engine.log().torn().is_some_and(|torn| torn.acknowledged) {
            // A view may hold events that are lost, and whose positions are given out again.
            views::set_aside(&**engine.log().journal.disk(), directory.path())?;
        }
        // The lock is released before its directory is removed.
        let belongings = Box::new((lock, temporary.map(Owned::new)));
        let its_directory = Arc::clone(&directory);
        let projections = Projections::new(Arc::clone(engine.log()), its_directory, cache_bytes);
        let (log, processes) = (LogHandle::new(engine, belongings), Arc::default());
        let relays = Arc::default();
        let (groups, live, kinds) = (Arc::default(), Arc::default(), Arc::default());
        let subscriptions = Arc::default();
        let parts = StoreParts {
            directory,
            projections,
            groups,
            live,
            subscriptions,
            processes,
            relays,
            kinds,
        };
        let store = Store { log, parts: Arc::new(parts) };
        #[cfg(feature = "erasure")]
        store.resume_forgetting()?;
        if let Some(source) = source {
            #[cfg(feature = "erasure")]
            store.forget_with_the_source();
            applier::start(store.log.engine(), source)?;
        }
        Ok(store)
    }
}
