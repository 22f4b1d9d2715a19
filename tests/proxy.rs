//! A TCP proxy on loopback that cuts, stalls, truncates or slows down what passes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;

/// What becomes of what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// All passes.
    Flows,
    /// Connections are closed, and new ones as soon as they are made.
    Cut,
    /// Nothing passes in either direction, and no connection is closed.
    Stalled,
    /// Of the answers so many bytes pass on each connection, and then it is closed.
    Truncated(usize),
    /// Answers pass in pieces of so many bytes, with a pause of a millisecond before each.
    Slow(usize),
}

/// A proxy in front of one server; it stops, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    traffic: watch::Sender<Traffic>,
    listening: JoinHandle<()>,
}

#[derive(Clone)]
enum Server {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Proxy {
    /// Stands before the server of an `http://` URL.
    ///
    /// # Panics
    /// When loopback has no free port, or the URL no port.
    pub async fn before_panel(url: &str) -> Self {
        let authority = url.trim_start_matches("http://");
        let (host, port) = authority.rsplit_once(':').expect("the URL has a port");
        Self::before(Server::Tcp(
            host.to_owned(),
            port.parse().expect("it is a number"),
        ))
        .await
    }

    /// Stands before the server of a `postgres://` URL, on whatever kind of socket that listens.
    ///
    /// # Panics
    /// When loopback has no free port, or the URL no host.
    pub async fn before_database(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().expect("the URL can be read");
        let port = config.get_ports().first().copied().unwrap_or(5_432);
        let server = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => Server::Tcp(host.clone(), port),
            Some(Host::Unix(folder)) => Server::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            None => panic!("the URL names no host"),
        };
        Self::before(server).await
    }

    async fn before(server: Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (traffic, watched) = watch::channel(Traffic::Flows);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server.clone(), watched.clone()));
            }
        });
        Self {
            address,
            traffic,
            listening,
        }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the panel this way.
    #[must_use]
    pub fn panel_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of a database of the server this way.
    ///
    /// # Panics
    /// When the URL names no database.
    #[must_use]
    pub fn database_url(&self, url: &str) -> String {
        let config: tokio_postgres::Config = url.parse().expect("the URL can be read");
        let password = config.get_password().map_or_else(String::new, |password| {
            format!(":{}", String::from_utf8_lossy(password))
        });
        format!(
            "postgres://{}{password}@{}/{}?sslmode=disable",
            config.get_user().unwrap_or("postgres"),
            self.address,
            config.get_dbname().expect("the URL names a database"),
        )
    }

    /// Lets what passes from now on fare so, on the connections that there are as well.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// A handle that does the same, for a hook.
    #[must_use]
    pub fn switch(&self) -> watch::Sender<Traffic> {
        self.traffic.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.set(Traffic::Cut);
    }
}

async fn connect(client: TcpStream, server: Server, traffic: watch::Receiver<Traffic>) {
    let ended = match server {
        Server::Tcp(host, port) => match TcpStream::connect((host, port)).await {
            Ok(server) => relay(client, server, traffic).await,
            Err(error) => Err(error),
        },
        Server::Unix(path) => match UnixStream::connect(path).await {
            Ok(server) => relay(client, server, traffic).await,
            Err(error) => Err(error),
        },
    };
    // A connection that breaks is what the proxy is for; both its ends see it.
    drop(ended);
}

/// Passes everything on until one side closes, or the traffic is cut.
async fn relay<S>(client: TcpStream, server: S, traffic: watch::Receiver<Traffic>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let mut cut = traffic.clone();
    tokio::select! {
        ended = pass(from_client, to_server, traffic.clone(), false) => ended,
        ended = pass(from_server, to_client, traffic, true) => ended,
        ended = cut.wait_for(|traffic| *traffic == Traffic::Cut) => ended.map(drop).map_err(io::Error::other),
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut traffic: watch::Receiver<Traffic>,
    is_answer: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        // A side that breaks has closed, and that passes no more than what it says.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let now = *traffic
            .wait_for(|traffic| *traffic != Traffic::Stalled)
            .await
            .map_err(io::Error::other)?;
        if length == 0 {
            return to.shutdown().await;
        }
        let piece = buffer.get(..length).unwrap_or_default();
        match now {
            Traffic::Truncated(limit) if is_answer => {
                let rest = piece.len().min(limit.saturating_sub(passed));
                to.write_all(piece.get(..rest).unwrap_or_default()).await?;
                passed += rest;
                if passed >= limit {
                    return to.shutdown().await;
                }
            }
            Traffic::Slow(size) if is_answer => {
                for part in piece.chunks(size) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    to.write_all(part).await?;
                }
            }
            Traffic::Cut => return Ok(()),
            Traffic::Flows | Traffic::Stalled | Traffic::Truncated(_) | Traffic::Slow(_) => {
                to.write_all(piece).await?;
            }
        }
    }
}
