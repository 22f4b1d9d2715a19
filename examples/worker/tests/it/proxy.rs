//! A wire to the database on which, from some moment on, bytes vanish while every connection stays open.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    database: String,
    user: String,
    port: u16,
    stalled: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy to the server of this URL, a Unix socket or a TCP address.
    pub(crate) async fn start(url: &str) -> Self {
        let rest = url.split_once("://").unwrap().1;
        let (user, rest) = rest.rsplit_once('@').unwrap();
        let (host, database) = rest.split_once('/').unwrap();
        let database = database.split('?').next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stalled, watch) = watch::channel(false);
        let host = host.replace("%2F", "/");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, watch) = (host.clone(), watch.clone());
                tokio::spawn(async move {
                    let (from_client, to_client) = client.into_split();
                    if host.starts_with('/') {
                        let server = UnixStream::connect(format!("{host}/.s.PGSQL.5432"))
                            .await
                            .unwrap();
                        let (from_server, to_server) = server.into_split();
                        tokio::join!(
                            pass(from_client, to_server, watch.clone()),
                            pass(from_server, to_client, watch)
                        );
                    } else {
                        let address = if host.contains(':') {
                            host
                        } else {
                            format!("{host}:5432")
                        };
                        let server = TcpStream::connect(address).await.unwrap();
                        let (from_server, to_server) = server.into_split();
                        tokio::join!(
                            pass(from_client, to_server, watch.clone()),
                            pass(from_server, to_client, watch)
                        );
                    }
                });
            }
        });
        Self {
            database: database.to_owned(),
            user: user.to_owned(),
            port,
            stalled,
        }
    }

    /// The database behind it.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://{}@127.0.0.1:{}/{}?sslmode=disable",
            self.user, self.port, self.database
        )
    }

    /// From now on nothing passes, nothing is closed, and nobody learns of it.
    pub(crate) fn stall(&self) {
        self.stalled.send_replace(true);
    }
}

/// Passes bytes on until the wire is stalled; then it holds both ends for as long as it runs.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut stalled: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            biased;
            () = async { stalled.wait_for(|stalled| *stalled).await.map(drop).unwrap_or_default() } => return std::future::pending().await,
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    if to.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
                Ok(0) | Err(_) => return to.shutdown().await.unwrap_or_default(),
            },
        }
    }
}
