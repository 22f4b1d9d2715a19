//! Chromium, driven through `chromedriver`.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    // A name that is not this machine's to the browser, for what it does without HTTPS.
    "--host-resolver-rules=MAP board.test 127.0.0.1",
];

/// How long something on a page is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser of its own, which ends with this value.
pub(crate) struct Browser {
    driver: WebDriver,
    process: Driver,
    _profile: TempDir,
}

/// The process that starts and ends Chromium.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Browser {
    /// None, which is said on standard error, where there is no Chromium or no chromedriver.
    pub(crate) async fn start() -> Option<Self> {
        let (Some(chromium), Some(chromedriver)) = (
            program(&["chromium", "chromium-browser", "google-chrome"]),
            program(&["chromedriver"]),
        ) else {
            skip();
            return None;
        };
        let (process, port) = start(&chromedriver);
        let profile = tempfile::tempdir().unwrap();
        let mut wishes = DesiredCapabilities::chrome();
        wishes.set_binary(chromium.to_str().unwrap()).unwrap();
        for flag in FLAGS {
            wishes.add_arg(flag).unwrap();
        }
        wishes
            .add_arg(&format!("--user-data-dir={}", profile.path().display()))
            .unwrap();
        for log in ["browser", "performance"] {
            wishes
                .set_logging_prefs(log.to_owned(), LoggingPrefsLogLevel::All)
                .unwrap();
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wishes)
            .await
            .unwrap();
        let browser = Self {
            driver,
            process,
            _profile: profile,
        };
        // What a new window looks for by itself is none of ours.
        browser.open("about:blank").await;
        browser.complaints().await;
        Some(browser)
    }

    /// Ends the browser in order; its process ends in any case.
    pub(crate) async fn end(self) {
        self.driver.quit().await.unwrap();
        drop(self.process);
    }

    pub(crate) async fn open(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// The status of the page that is shown.
    pub(crate) async fn status(&self) -> u64 {
        let script = "performance.getEntriesByType('navigation')[0].responseStatus";
        self.value(script).await.as_u64().unwrap()
    }

    /// What a JavaScript expression is.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let result = self.driver.execute(format!("return {expression}"), vec![]).await;
        result.unwrap().json().clone()
    }

    /// The text of the first element that a selector finds, as it is shown.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let expression = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.value(&expression).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn count(&self, selector: &str) -> u64 {
        let expression = format!("document.querySelectorAll({}).length", json!(selector));
        self.value(&expression).await.as_u64().unwrap()
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.driver.find(By::Css(selector)).await;
        element.unwrap().click().await.unwrap();
    }

    /// Clicks on what leads to another page, and waits for that page.
    pub(crate) async fn follow(&self, selector: &str) {
        self.leave(self.click(selector)).await;
    }

    /// Does what leads to another page, and waits for that page.
    pub(crate) async fn leave(&self, action: impl Future<Output = ()>) {
        const PAGE: &str = "return document.readyState == 'complete' ? performance.timeOrigin : null";
        let before = self.value("performance.timeOrigin").await;
        action.await;
        let wait = async {
            loop {
                // Between two pages there is none to ask.
                if let Ok(page) = self.driver.execute(PAGE, vec![]).await
                    && !page.json().is_null()
                    && *page.json() != before
                {
                    return;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "no other page came:\n{}", self.text("body").await);
    }

    /// Presses a key wherever the focus is.
    pub(crate) async fn press(&self, key: Key) {
        let keys = self.driver.action_chain().send_keys(key);
        keys.perform().await.unwrap();
    }

    /// Asks for the page again until an expression is true.
    pub(crate) async fn reload_until(&self, expression: &str) {
        let wait = async {
            while self.value(expression).await != json!(true) {
                self.driver.refresh().await.unwrap();
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            came.is_ok(),
            "{expression} never came true:\n{}",
            self.text("body").await
        );
    }

    /// Waits until an expression is true in a page whose scripts are at work.
    pub(crate) async fn wait_until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0]; const look = () => ({expression}) ? done(true) : requestAnimationFrame(look); look();"
        );
        let wait = tokio::time::timeout(PATIENCE, self.driver.execute_async(script, vec![])).await;
        let Ok(done) = wait else {
            panic!("{expression} never came true:\n{}", self.text("body").await)
        };
        assert_eq!(*done.unwrap().json(), json!(true));
    }

    /// A command of the browser's tools for developers.
    pub(crate) async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// The size of the screen and the colours that the user prefers.
    pub(crate) async fn screen(&self, width: u32, height: u32, colours: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// What the console and the network complained of since the last call.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for entry in self.driver.get_log("browser").await.unwrap() {
            if entry.level == "SEVERE" {
                complaints.push(format!("console: {}", entry.message));
            }
        }
        for entry in self.driver.get_log("performance").await.unwrap() {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            let (method, parameters) = (&event["message"]["method"], &event["message"]["params"]);
            let status = parameters["response"]["status"].as_u64().unwrap_or_default();
            if method == "Network.responseReceived" && status >= 400 {
                complaints.push(format!("{status}: {}", parameters["response"]["url"]));
            }
            // A stream of events ends when the page is left.
            if method == "Network.loadingFailed" && parameters["canceled"] != json!(true) {
                complaints.push(format!("failed: {parameters}"));
            }
        }
        complaints
    }

    /// A picture of the whole page, where `SCREENSHOTS` names a folder for them.
    pub(crate) async fn picture(&self, name: &str) {
        let Some(folder) = variable("SCREENSHOTS") else {
            return;
        };
        let height = self.value("document.documentElement.scrollHeight").await;
        let width = self.value("window.innerWidth").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let parameters = json!({ "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", parameters).await;
        let bytes = base64(picture["data"].as_str().unwrap());
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), bytes).unwrap();
    }
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

fn start(chromedriver: &PathBuf) -> (Driver, String) {
    let mut child = Command::new(chromedriver)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let driver = Driver(child);
    let port = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        })
        .unwrap();
    // An unread pipe would stop it once it is full.
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (driver, port)
}

/// The first of these programs that `PATH` leads to.
fn program(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let mut places = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.find(|place| place.is_file())
}

/// Says once, past the capture of the test harness, that the tests are skipped.
fn skip() {
    static ONCE: Once = Once::new();
    let advice = "install Chromium and its driver (apt-get install chromium chromium-driver)";
    assert!(
        variable("REQUIRE_CHROMIUM").as_deref() != Some("1"),
        "REQUIRE_CHROMIUM=1, but there is none: {advice}"
    );
    ONCE.call_once(|| {
        let said = writeln!(io::stderr(), "\nbrowser tests skipped: {advice}\n");
        said.unwrap();
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether there must be a browser is a matter of the tests' environment"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
