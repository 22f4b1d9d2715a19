//! One run at a time: a lock on a file beside the database.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::model::report::Job;
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::RunLock;

/// Where the locks of a database are.
#[derive(Clone)]
pub(super) enum Locks {
    /// Beside the file of the database, so that they hold between processes and die with them.
    Files(PathBuf),
    /// In this process, as the database is.
    Memory(Arc<Mutex<HashSet<(Job, String)>>>),
}

impl Locks {
    pub(super) fn beside(database: Option<PathBuf>) -> Self {
        database.map_or_else(|| Self::Memory(Arc::default()), Self::Files)
    }

    pub(super) async fn take(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        match self {
            Self::Files(database) => {
                let path = lock_path(database, job, panel);
                let unavailable = format!("cannot lock {}", path.display());
                let taken = tokio::task::spawn_blocking(move || FileLock::take(path))
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)));
                match taken {
                    Ok(Some(lock)) => Ok(Box::new(lock)),
                    Ok(None) => Err(already_running(job, panel)),
                    Err(error) => {
                        Err(StoreError::new(StoreErrorKind::Unavailable, unavailable).with_source(error))
                    }
                }
            }
            Self::Memory(held) => {
                let key = (job, panel.to_owned());
                if !held
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(key.clone())
                {
                    return Err(already_running(job, panel));
                }
                Ok(Box::new(MemoryLock {
                    held: Arc::clone(held),
                    key,
                }))
            }
        }
    }
}

fn already_running(job: Job, panel: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::AlreadyRunning,
        format!("another run of {job} for the panel {panel:?} is under way"),
    )
}

/// `<database>.<job>.<panel>.lock`, in which a panel may have any name. Capital letters are escaped too, as some
/// file systems do not tell them from small ones.
fn lock_path(database: &Path, job: Job, panel: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(format!(".{job}."));
    for byte in panel.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte).to_string()),
            _ => path.push(format!("%{byte:02x}")),
        }
    }
    path.push(".lock");
    PathBuf::from(path)
}

/// A lock on a file, which the system takes back when the file is closed, whichever way that comes about.
struct FileLock {
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// None when somebody else holds it.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path, file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[async_trait]
impl RunLock for FileLock {
    async fn verify(&mut self) -> Result<(), StoreError> {
        // Whoever removed the file lets the next run lock a new one of the same name.
        match is_same_file(&self.file, &self.path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(lock_lost(&self.path)),
            Err(error) => Err(lock_lost(&self.path).with_source(error)),
        }
    }

    async fn release(self: Box<Self>) -> Result<(), StoreError> {
        self.file.unlock().map_err(|error| {
            StoreError::new(
                StoreErrorKind::Unavailable,
                "the release of the lock was not confirmed",
            )
            .with_source(error)
        })
    }
}

fn lock_lost(path: &Path) -> StoreError {
    StoreError::new(
        StoreErrorKind::LockLost,
        format!(
            "the lock {} was lost, as its file was removed or replaced",
            path.display()
        ),
    )
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (held, named) = (file.metadata()?, path.metadata()?);
    Ok((held.dev(), held.ino()) == (named.dev(), named.ino()))
}

/// A locked file cannot be removed there.
#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

struct MemoryLock {
    held: Arc<Mutex<HashSet<(Job, String)>>>,
    key: (Job, String),
}

#[async_trait]
impl RunLock for MemoryLock {
    async fn verify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}
