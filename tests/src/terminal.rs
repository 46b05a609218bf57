//! A terminal for a program that draws: it returns what a person would have seen.

use crate::PATIENCE;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// A terminal, and the program that runs on it.
#[derive(Debug)]
pub struct Terminal {
    /// The program.
    pub child: Child,
    /// The program's side; held open so that its size can be changed.
    inside: File,
    /// The person's side.
    keyboard: File,
    shown: watch::Receiver<String>,
}

impl Terminal {
    /// Runs a command on a terminal of that number of columns.
    ///
    /// # Panics
    /// Where the system has no terminal, or the command cannot be run.
    #[must_use]
    pub fn run(mut command: Command, columns: u16) -> Self {
        let outside = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&outside).expect("a terminal");
        unlockpt(&outside).expect("a terminal");
        let name = ptsname(&outside, Vec::new()).expect("a terminal has a name");
        let name = name.into_string().expect("its name is text");
        let inside = File::options().read(true).write(true).open(name).expect("its other side");
        resize(&inside, columns);
        let end = || Stdio::from(inside.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        let child = command.spawn().expect("the command can be run");
        let (tell, shown) = watch::channel(String::new());
        let mut outside = File::from(outside);
        let keyboard = outside.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            // Fails where no process has the other side open any more.
            while let Ok(count) = outside.read(&mut buffer) {
                all.extend_from_slice(&buffer[..count]);
                tell.send_replace(String::from_utf8_lossy(&all).into_owned());
            }
        });
        Self { child, inside, keyboard, shown }
    }

    /// Types a text.
    ///
    /// # Panics
    /// Where the terminal does not take it.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Changes the number of columns.
    pub fn resize(&self, columns: u16) {
        resize(&self.inside, columns);
    }

    /// Waits until the condition is true for everything that was shown, and returns that.
    ///
    /// # Panics
    /// Where it is not true in time.
    pub async fn shows(&mut self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let shown = timeout(PATIENCE, self.shown.wait_for(|text| wanted(text))).await;
        if let Ok(Ok(text)) = &shown {
            return (**text).clone();
        }
        drop(shown);
        panic!("it is not shown: {:?}", *self.shown.borrow())
    }
}

fn resize(inside: &File, columns: u16) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(inside, size).expect("a terminal has a size");
}
