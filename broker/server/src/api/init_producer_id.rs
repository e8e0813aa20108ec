//! InitProducerId for idempotent producers (KIP-98). Ids come in blocks from the metadata log, so none is given twice.
//!
//! There are no transactions yet. A transactional id gets an error that clients treat as final, at once: a retriable one
//! would cost them a minute.

use broker_model::ErrorCode;
use broker_wire::messages::init_producer_id_request::InitProducerIdRequest;
use broker_wire::messages::init_producer_id_response::InitProducerIdResponse;

use super::{Call, Pending};

/// Answers with a new id, epoch 0.
pub(super) fn start(call: Call, request: InitProducerIdRequest) -> Pending {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return call.ready(&failed(ErrorCode::InvalidRequest));
    }
    match request.transactional_id.as_deref() {
        Some("") => return call.ready(&failed(ErrorCode::InvalidRequest)),
        Some(_) => return call.ready(&failed(ErrorCode::TransactionalIdAuthorizationFailed)),
        None => {}
    }
    Pending::wait(async move {
        let response = match call.broker.next_producer_id().await {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(error) => failed(error),
        };
        call.reply(&response)
    })
}

fn failed(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: error.code(), producer_id: -1, producer_epoch: -1, ..Default::default() }
}
