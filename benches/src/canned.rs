//! A panel whose answers are made by copying: it takes the time that it is told to take, and none of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{name, traffic};

/// One user of a panel with two protocols and four links, as 0.8.4 renders it; `NAME` and `USED` are filled in.
const USER: &str = include_str!("user.json");

/// The time that one request of a panel takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Of each request.
    pub request: Duration,
    /// Of each user in the answer.
    pub user: Duration,
}

/// What a panel has been asked, and how long it worked on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// From when a request was read until its answer was there to be sent, of all requests.
    pub busy: Duration,
}

/// A panel on loopback with the users `user_0000001` and so on, all of whom have access; it lives as long as its
/// process, and it works on one request at a time, as a panel does.
#[derive(Clone, Debug)]
pub struct CannedPanel {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    users: u64,
    cost: Cost,
    /// Every so many-th user uses traffic when time goes on; 0 for nobody.
    every: AtomicU64,
    rounds: AtomicU64,
    parts: [&'static str; 4],
    turn: Mutex<Figures>,
}

impl CannedPanel {
    /// Starts one with so many users.
    ///
    /// # Panics
    /// When there is no loopback.
    #[must_use]
    pub fn start(users: u64, cost: Cost) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback can be listened on");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State {
            users,
            cost,
            every: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            parts: parts(),
            turn: Mutex::new(Figures::default()),
        });
        let panel = Self {
            address,
            state: Arc::clone(&state),
        };
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // A client that goes away is the end of its connection, and of nothing else.
                thread::spawn(move || state.serve(connection).ok());
            }
        });
        panel
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets every so many-th user use one more byte than before; 1 is everybody, and 0 nobody.
    pub fn advance(&self, every: u64) {
        self.state.every.store(every, Ordering::Relaxed);
        self.state.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// What it has been asked until now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.state.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of a page with the first so many users.
    #[must_use]
    pub fn page(&self, users: u64) -> Vec<u8> {
        let mut body = Vec::new();
        let all: Vec<u64> = (1..=users).collect();
        self.state.list(&all, &mut body);
        body
    }
}

/// The text before the name, between name and name, between name and traffic, and after it.
fn parts() -> [&'static str; 4] {
    let text = USER.trim_end();
    let (before, rest) = text.split_once("USED").expect("the user has traffic");
    let (between, after) = rest.split_once("NAME").expect("the user has a name");
    let (after, links) = after.split_once("USED").expect("the user has used traffic ever");
    [before, between, after, links]
}

impl State {
    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let mut writer = connection.try_clone()?;
        let mut reader = BufReader::new(connection);
        let (mut line, mut body, mut answer) = (String::new(), Vec::new(), Vec::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            skip_rest(&mut reader, &mut line)?;
            let status = self.work(&target, &mut body);
            answer.clear();
            write!(
                answer,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )?;
            answer.extend_from_slice(&body);
            writer.write_all(&answer)?;
        }
    }

    /// Works on a request when it is its turn, for as long as it is to take.
    fn work(&self, target: &str, body: &mut Vec<u8>) -> &'static str {
        if target == "/figures" {
            let Figures {
                requests,
                bytes,
                busy,
            } = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            *body = format!("{requests} {bytes} {}", busy.as_micros()).into_bytes();
            return "200 OK";
        }
        let mut figures = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        body.clear();
        let (status, users) = self.answer(target, body);
        let due = self.cost.request + self.cost.user * users;
        thread::sleep(due.saturating_sub(began.elapsed()));
        figures.requests += 1;
        figures.bytes += body.len() as u64;
        figures.busy += began.elapsed();
        status
    }

    /// Writes the body, and says how many users are in it.
    fn answer(&self, target: &str, body: &mut Vec<u8>) -> (&'static str, u32) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(name) = path.strip_prefix("/api/user/") {
            let Some(number) = self.number(name) else {
                body.extend_from_slice(br#"{"detail":"User not found"}"#);
                return ("404 Not Found", 0);
            };
            self.user(number, body);
            return ("200 OK", 1);
        }
        match path {
            "/api/users" => {
                let asked = query
                    .split('&')
                    .filter_map(|pair| self.number(pair.strip_prefix("username=")?));
                let asked: Vec<u64> = asked.collect();
                self.list(&asked, body);
                ("200 OK", u32::try_from(asked.len()).unwrap_or(u32::MAX))
            }
            "/api/users/expired" => {
                body.extend_from_slice(b"[]");
                ("200 OK", 0)
            }
            "/api/admin" => {
                body.extend_from_slice(br#"{"username":"admin","is_sudo":true}"#);
                ("200 OK", 0)
            }
            "/api/admin/token" => {
                body.extend_from_slice(br#"{"access_token":"canned","token_type":"bearer"}"#);
                ("200 OK", 0)
            }
            "/api/system" => {
                body.extend_from_slice(self.system().as_bytes());
                ("200 OK", 0)
            }
            _ => {
                body.extend_from_slice(br#"{"detail":"Not Found"}"#);
                ("404 Not Found", 0)
            }
        }
    }

    /// The number of the user of this name, if there is one.
    fn number(&self, name: &str) -> Option<u64> {
        let number = name.strip_prefix("user_")?.parse().ok()?;
        (1..=self.users).contains(&number).then_some(number)
    }

    fn list(&self, numbers: &[u64], body: &mut Vec<u8>) {
        body.extend_from_slice(br#"{"users":["#);
        for (position, number) in numbers.iter().enumerate() {
            if position > 0 {
                body.push(b',');
            }
            self.user(*number, body);
        }
        body.extend_from_slice(format!(r#"],"total":{}}}"#, numbers.len()).as_bytes());
    }

    fn user(&self, number: u64, body: &mut Vec<u8>) {
        let every = self.every.load(Ordering::Relaxed);
        let moves = every > 0 && number.is_multiple_of(every);
        let rounds = if moves {
            self.rounds.load(Ordering::Relaxed)
        } else {
            0
        };
        let used = (traffic(number) + rounds).to_string();
        let [before, between, after, links] = self.parts;
        for part in [before, &used, between, &name(number), after, &used, links] {
            body.extend_from_slice(part.as_bytes());
        }
    }

    fn system(&self) -> String {
        let users = self.users;
        format!(
            r#"{{"version":"0.8.4","mem_total":1,"mem_used":1,"cpu_cores":1,"cpu_usage":1.0,"total_user":{users},"online_users":0,"users_active":{users},"users_on_hold":0,"users_disabled":0,"users_expired":0,"users_limited":0,"incoming_bandwidth":0,"outgoing_bandwidth":0,"incoming_bandwidth_speed":0,"outgoing_bandwidth_speed":0}}"#
        )
    }
}

/// Reads the headers and the body of a request, of which nothing is of interest.
fn skip_rest(reader: &mut BufReader<TcpStream>, line: &mut String) -> std::io::Result<()> {
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(line)?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((key, value)) = header.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).map(drop)
}

/// Asks a canned panel of another process for its figures.
///
/// # Errors
/// When it is not there.
///
/// # Panics
/// When it is no canned panel.
pub fn figures_of(url: &str) -> std::io::Result<Figures> {
    let address = url.strip_prefix("http://").unwrap_or(url);
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /figures HTTP/1.1\r\n\r\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.rsplit("\r\n").next().unwrap_or_default();
    let mut numbers = body.split(' ').map(str::parse::<u64>);
    let mut next = || {
        numbers
            .next()
            .expect("three figures")
            .expect("figures are numbers")
    };
    Ok(Figures {
        requests: next(),
        bytes: next(),
        busy: Duration::from_micros(next()),
    })
}
