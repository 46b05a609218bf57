//! The making of one file of parts. It takes as long as a copy of the file, so it goes on when its
//! client has gone: a proxy may have lost patience. A client that asks again hears of the file that
//! was made.

use super::super::assemblies::Made;
use super::super::caller::Caller;
use super::super::client::Context;
use super::super::problem::Problem;
use super::concat::{self, Concat};
use axum::http::StatusCode;
use towline_engine::{Begun, Length, NewUpload, SendingMode};
use towline_state::catalog::Description;
use towline_types::{DocumentPath, SecondDigest};

/// Makes the file, or says which one was made of the same.
pub(super) async fn make(
    context: &Context,
    caller: &Caller,
    path: DocumentPath,
    asked: Option<String>,
    concat: Concat,
) -> Result<Made, Problem> {
    let Concat::Final(parts) = concat else {
        return Err(Problem::bad_request("Upload-Concat", "Upload-Concat: a list was expected"));
    };
    let asked = asked.unwrap_or_default();
    let of_user = context.state.assemblies.of(caller.identity.user);
    // Another one of this user is under way. It may be the very same.
    let mut made = tokio::select! {
        biased;
        problem = caller.ends() => return Err(problem),
        made = of_user.lock_owned() => made,
    };
    if let Some(earlier) = made.find(&asked) {
        return Ok(earlier);
    }
    let filesize = concat::length(caller, &parts).await?;
    let caller = caller.clone();
    let stopping = context.shared.stopping.clone();
    let making = context.shared.connections.spawn(async move {
        let new = NewUpload {
            description: Description { metadata: Some(asked.clone()), ..Description::default() },
            second_digest: SecondDigest::Sha256,
            ..NewUpload::new(path, Length::Declared(filesize), SendingMode::RANGES)
        };
        let Begun::Uploading(mut upload) = caller.account.begin(new).await? else {
            let message = "the file is here already";
            return Err(Problem::new(StatusCode::CONFLICT, "bad_state", message));
        };
        let id = upload.id();
        let done = async {
            concat::fill(&caller, &mut upload, &parts).await?;
            let completion = upload.complete(None).await?;
            if !completion.receipt.is_durable() {
                // The bytes of the parts were promised, so the parts stay until the document
                // survives a power cut (P1): the second receipt waits for that.
                caller.account.receipt(id).await?;
            }
            Ok::<_, Problem>(())
        };
        let done = tokio::select! {
            biased;
            problem = caller.ends() => Err(problem),
            () = stopping.cancelled() => Err(stopped()),
            done = done => done,
        };
        if let Err(problem) = done {
            // Nobody knows its address.
            upload.pause().await;
            let _ = caller.account.cancel(id).await;
            return Err(problem);
        }
        for part in parts {
            // What stays is given up when no byte comes for it.
            let _ = caller.account.cancel(part).await;
        }
        let file = Made { id, filesize };
        made.remember(asked, file);
        Ok(file)
    });
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it has failed");
    making.await.map_err(|_| failed())?
}

fn stopped() -> Problem {
    let message = "the server is stopping; the parts stay as they are";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
}
