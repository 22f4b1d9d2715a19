//! The fields of a JSON body, read as pydantic reads them and refused with its messages.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::datetime::{Dialect, PyDateTime};
use super::query::integer_of_text;
use super::response::Response;

pub(crate) const NOT_AN_OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";

/// The fields of one object, and what is wrong with them so far.
pub(crate) struct Fields<'a> {
    pub(crate) object: &'a Map<String, Value>,
    problems: Vec<(String, String)>,
    overflow: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            problems: Vec::new(),
            overflow: false,
        }
    }

    /// The fields of a required body, which must be an object.
    pub(crate) fn of_body(json: Option<&'a Value>) -> Result<Self, Response> {
        let refuse = |message: &str| Err(Response::invalid(&[("body".to_owned(), message.to_owned())]));
        match json {
            None => refuse("Field required"),
            Some(Value::Object(object)) => Ok(Self::new(object)),
            Some(_) => refuse(NOT_AN_OBJECT),
        }
    }

    /// Refuses the body with all its problems at once, or returns what was read.
    pub(crate) fn finish<T>(self, body: T) -> Result<T, Response> {
        if !self.problems.is_empty() {
            return Err(Response::invalid(&self.problems));
        }
        // A number beyond 64 bits passes the model and fails in the database, before anything is stored.
        if self.overflow {
            return Err(Response::internal_error());
        }
        Ok(body)
    }

    /// Takes over the problems of a nested object; the panel reports them without its name.
    pub(crate) fn absorb(&mut self, inner: Self) {
        self.overflow |= inner.overflow;
        self.problems.extend(inner.problems);
    }

    pub(crate) fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push((field.to_owned(), message.into()));
    }

    /// The value of a field, where null counts as omitted.
    pub(crate) fn given(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Refuses null for a field whose default only stands in for an absent value.
    pub(crate) fn not_null(&mut self, name: &str, message: &str) {
        if self.object.get(name).is_some_and(Value::is_null) {
            self.problem(name, message);
        }
    }

    /// A text that may be absent.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        if let Value::String(text) = self.given(name)? {
            return Some(text.clone());
        }
        self.problem(name, "Input should be a valid string");
        None
    }

    /// A required text; if it is missing, the problem is noted and an empty text returned.
    pub(crate) fn required_text(&mut self, name: &str) -> String {
        match self.object.get(name) {
            None => self.problem(name, "Field required"),
            Some(Value::String(text)) => return text.clone(),
            Some(_) => self.problem(name, "Input should be a valid string"),
        }
        String::new()
    }

    /// A truth value, in any of the words and numbers that pydantic accepts.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.given(name)?;
        let word = match value {
            Value::Bool(flag) => return Some(*flag),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.to_ascii_lowercase(),
            _ => {
                self.problem(name, "Input should be a valid boolean");
                return None;
            }
        };
        match word.as_str() {
            "1" | "1.0" | "true" | "t" | "yes" | "y" | "on" => Some(true),
            "0" | "0.0" | "false" | "f" | "no" | "n" | "off" => Some(false),
            _ => {
                self.problem(name, "Input should be a valid boolean, unable to interpret input");
                None
            }
        }
    }

    /// A required truth value.
    pub(crate) fn required_flag(&mut self, name: &str) -> bool {
        match self.object.get(name) {
            None => self.problem(name, "Field required"),
            Some(Value::Null) => self.problem(name, "Input should be a valid boolean"),
            Some(_) => return self.flag(name).unwrap_or_default(),
        }
        false
    }

    /// A number that may have a fraction.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.given(name)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        if number.is_none() {
            self.problem(name, "Input should be a valid number");
        }
        number
    }

    /// One word of a list; `message` names the list.
    pub(crate) fn choice<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        message: &str,
    ) -> Option<T> {
        let chosen = self.object.get(name)?.as_str().and_then(parse);
        if chosen.is_none() {
            self.problem(name, message);
        }
        chosen
    }

    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.given(name)?;
        self.integer_of(name, value)
    }

    pub(crate) fn integer_of(&mut self, name: &str, value: &Value) -> Option<i64> {
        match value {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Some(integer),
                (None, Some(float)) if float.fract() != 0.0 => {
                    self.problem(
                        name,
                        "Input should be a valid integer, got a number with a fractional part",
                    );
                    None
                }
                (None, float) => self.whole(float),
            },
            Value::String(text) => match integer_of_text(text) {
                Ok(integer) => Some(integer),
                Err(message) => {
                    self.problem(name, message);
                    None
                }
            },
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => {
                self.problem(name, "Input should be a valid integer");
                None
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked, and the panel truncates too"
    )]
    pub(crate) fn whole(&mut self, float: Option<f64>) -> Option<i64> {
        // 2^63, the first float that is too large.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match float {
            Some(float) if (-LIMIT..LIMIT).contains(&float) => Some(float as i64),
            _ => {
                self.overflow = true;
                None
            }
        }
    }

    /// The panel drops an offset instead of converting by it; a number is Unix time.
    pub(crate) fn datetime(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let time = match self.given(name)? {
            Value::Number(number) => number.as_f64().and_then(PyDateTime::of_number),
            Value::String(text) => PyDateTime::read(text, Dialect::Model),
            _ => None,
        };
        let time = time.map(|time| time.naive.and_utc());
        if time.is_none() {
            self.problem(
                name,
                "Input should be a valid datetime or date, input is too short",
            );
        }
        time
    }
}
