//! The binary: settings, the command line, and the only place where the parts are put together.

mod commands;
mod config;
mod demo;
mod exit;
mod logging;
mod net;
mod node;
mod printer;
mod private;
mod serve;
mod settings;
mod start;

pub use net::{NetLimits, NetOptions, Tls, TlsError, TlsFiles, accept};

use exit::AppError;
use printer::Printer;
use std::process::ExitCode;

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let printer = Printer::new();
    let status = match commands::run(&printer) {
        Ok(status) => status,
        Err(error) => {
            printer.error(&error);
            error.status
        }
    };
    ExitCode::from(status as u8)
}

pub(crate) type Outcome<T> = Result<T, AppError>;
