//! A server that is named by its name, and the one that is used where none is named.

use super::environment::{SERVER_VARIABLE, TOKEN_VARIABLE, variable};
use crate::cli::arguments::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::named_servers::NamedServers;
use crate::exit::Exit;

/// Puts the address and the token file of a named server in the place of its name, and looks up
/// which one is used where no server is named: the one that the environment names, else the default.
///
/// The token of a server goes to that server alone. It goes before the token of the environment where
/// the server was typed by its name: the environment's token may be meant for another one.
pub(in crate::cli) fn look_up_names(connect: &mut ConnectArgs) -> Result<(), CliError> {
    let has_token = variable(TOKEN_VARIABLE).is_some();
    let needs_no_names = connect.to.is_some() && (connect.token_file.is_some() || has_token);
    let servers = match NamedServers::of_person() {
        // The file cannot be read, say because the home folder is another person's.
        Err(error) if error.exit == Exit::Refused && needs_no_names => return Ok(()),
        servers => servers?,
    };
    let Some(servers) = servers else { return Ok(()) };
    if let Some(typed) = &connect.to {
        let Some(server) = servers.meant_by(typed) else { return Ok(()) };
        let is_by_name = server.address != *typed;
        if connect.token_file.is_none() && (is_by_name || !has_token) {
            connect.token_file = Some(server.token_file.clone());
        }
        connect.to = Some(server.address.clone());
        return Ok(());
    }
    let beside = variable(SERVER_VARIABLE);
    connect.usual = match beside.as_deref().map(str::parse) {
        Some(Ok(address)) => servers.meant_by(&address).cloned(),
        Some(Err(_)) => None,
        None => servers.default().cloned(),
    };
    Ok(())
}
