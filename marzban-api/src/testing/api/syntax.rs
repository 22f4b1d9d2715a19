//! Where a body stops being JSON, as Python's reader counts it: the panel answers with that offset.

use serde_json::Value;

/// Deeper bodies exhaust the reader before they prove to be wrong.
const DEPTH: usize = 100;

/// Why a body is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The offset in characters at which it fails.
    At(usize),
    /// It cannot be read at all, for which the panel knows no place.
    Unreadable,
}

/// Reads a body, or says where it fails.
pub(crate) fn read(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|_| {
        let Ok(text) = std::str::from_utf8(body) else {
            return Fault::Unreadable;
        };
        let text: Vec<char> = text.chars().collect();
        let mut scanner = Scanner { text: &text, at: 0 };
        scanner.whole().err().unwrap_or(Fault::Unreadable)
    })
}

struct Scanner<'a> {
    text: &'a [char],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    const fn fail<T>(&self) -> Result<T, Fault> {
        Err(Fault::At(self.at))
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        self.skip(|character| " \t\n\r".contains(character));
    }

    fn whole(&mut self) -> Result<(), Fault> {
        self.space();
        self.value(0)?;
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.fail()
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            _ if depth > DEPTH => Err(Fault::Unreadable),
            Some('"') => self.string(),
            Some('{') => self.entries('}', depth, true),
            Some('[') => self.entries(']', depth, false),
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = ["null", "true", "false", "NaN", "Infinity"]
            .into_iter()
            .find(|word| word.chars().eq(rest.iter().copied().take(word.len())));
        let Some(word) = found else {
            return self.fail();
        };
        self.at += word.len();
        Ok(())
    }

    /// Reads the whole part of a number; what follows it and is none is for the caller to refuse.
    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip(|character| character == '-');
        let digits = self.at;
        match self.peek() {
            Some('0') => self.at += 1,
            _ => self.skip(|character| character.is_ascii_digit()),
        }
        if self.at == digits || digits > start + 1 {
            return Err(Fault::At(start));
        }
        self.part(|character| character == '.');
        self.part(|character| matches!(character, 'e' | 'E'));
        Ok(())
    }

    /// Reads a fraction or an exponent if it is complete.
    fn part(&mut self, is_start: impl Fn(char) -> bool) {
        let before = self.at;
        let Some(start) = self.peek().filter(|start| is_start(*start)) else {
            return;
        };
        self.at += 1;
        if start != '.' && matches!(self.peek(), Some('+' | '-')) {
            self.at += 1;
        }
        let digits = self.at;
        self.skip(|character| character.is_ascii_digit());
        if self.at == digits {
            self.at = before;
        }
    }

    fn string(&mut self) -> Result<(), Fault> {
        let start = self.at;
        loop {
            self.at += 1;
            match self.peek() {
                None => return Err(Fault::At(start)),
                Some('"') => break,
                Some('\\') => self.escape(start)?,
                Some(control) if control < ' ' => return self.fail(),
                Some(_) => {}
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self, start: usize) -> Result<(), Fault> {
        let backslash = self.at;
        self.at += 1;
        match self.peek() {
            None => Err(Fault::At(start)),
            Some('u') => {
                let digits = self.text.get(self.at + 1..self.at + 5);
                let is_whole = digits.is_some_and(|digits| digits.iter().all(char::is_ascii_hexdigit));
                if !is_whole {
                    return self.fail();
                }
                self.at += 4;
                Ok(())
            }
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Ok(()),
            Some(_) => Err(Fault::At(backslash)),
        }
    }

    /// Reads what is between brackets, each entry with a name before it in an object.
    fn entries(&mut self, end: char, depth: usize, has_names: bool) -> Result<(), Fault> {
        self.at += 1;
        self.space();
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(());
        }
        loop {
            if has_names {
                if self.peek() != Some('"') {
                    return self.fail();
                }
                self.string()?;
                self.space();
                self.take(':')?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            if self.peek() == Some(end) {
                self.at += 1;
                return Ok(());
            }
            self.take(',')?;
            self.space();
        }
    }

    fn take(&mut self, wanted: char) -> Result<(), Fault> {
        if self.peek() != Some(wanted) {
            return self.fail();
        }
        self.at += 1;
        Ok(())
    }
}
