//! The methods of a node that are called here. Each answer is read from its
//! bytes straight into its type.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_rpc::{Fault, Meter, Outcome, Transport};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, Visitor},
};
use serde_json::{Value, json};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_client::{
    rpc_config::RpcAccountInfoConfig,
    rpc_request::RpcRequest,
    rpc_response::{Response, RpcPrioritizationFee},
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{account::Account, pubkey::Pubkey, signature::Signature, transaction::TransactionError};
use solana_transaction_status_client_types::{TransactionStatus, UiTransactionError};

use super::error::{Failure, NodeError};

/// The method by which an endpoint tells its newest slot.
pub const HEIGHT_METHOD: &str = "getSlot";

/// An answer, or the reason why there is none.
pub type ClientResult<T> = Result<T, Failure>;

/// The way to a node.
#[async_trait]
pub(crate) trait Wire: Send + Sync {
    /// Posts a request; the answer's bytes. The client calls it once for each call.
    async fn post(&self, body: String) -> Result<Vec<u8>, Fault>;
}

#[async_trait]
impl Wire for Transport {
    async fn post(&self, body: String) -> Result<Vec<u8>, Fault> {
        Self::post(self, body).await
    }
}

/// The methods of one node. None is repeated.
pub struct RpcClient {
    wire: Box<dyn Wire>,
    meter: Option<Meter>,
    id: AtomicU64,
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient").finish_non_exhaustive()
    }
}

/// The newest block that `getEpochInfo` tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochInfo {
    /// Its slot.
    pub absolute_slot: u64,
    /// Its height.
    pub block_height: u64,
}

impl RpcClient {
    /// A client that counts its calls, or one that does not.
    pub(crate) fn new(wire: impl Wire + 'static, meter: Option<Meter>) -> Self {
        Self { wire: Box::new(wire), meter, id: AtomicU64::new(0) }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// No answer, an error object, or an answer of another type.
    pub async fn send<T: DeserializeOwned>(&self, request: RpcRequest, params: Value) -> ClientResult<T> {
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let body = request.build_request_json(id, params).to_string();
        let method = method_label(request);
        let asked = self.meter.as_ref().map(|meter| {
            meter.call(method, 1);
            meter.request(method)
        });
        let answered = self.wire.post(body).await.map_err(Failure::from).and_then(|bytes| answer(&bytes));
        if let Some(asked) = asked {
            asked.end(outcome(&answered));
        }
        answered
    }

    /// The hash of the cluster's first block, in base58.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_genesis_hash(&self) -> ClientResult<String> {
        self.send(RpcRequest::GetGenesisHash, Value::Null).await
    }

    /// The version of the node's software.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_version(&self) -> ClientResult<String> {
        #[derive(Deserialize)]
        struct Version {
            #[serde(rename = "solana-core")]
            core: String,
        }
        self.send::<Version>(RpcRequest::GetVersion, Value::Null).await.map(|version| version.core)
    }

    /// The newest slot.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_slot_with_commitment(&self, commitment: CommitmentConfig) -> ClientResult<u64> {
        self.send(RpcRequest::GetSlot, json!([commitment])).await
    }

    /// The newest block.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_epoch_info_with_commitment(&self, commitment: CommitmentConfig) -> ClientResult<EpochInfo> {
        self.send(RpcRequest::GetEpochInfo, json!([commitment])).await
    }

    /// The first slot of the node's history.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_first_available_block(&self) -> ClientResult<u64> {
        self.send(RpcRequest::GetFirstAvailableBlock, Value::Null).await
    }

    /// The lamports of an account.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_balance_with_commitment(
        &self,
        address: &Pubkey,
        commitment: CommitmentConfig,
    ) -> ClientResult<Response<u64>> {
        self.send(RpcRequest::GetBalance, json!([address.to_string(), commitment])).await
    }

    /// One account, as the configuration asks for it.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_ui_account_with_config(
        &self,
        address: &Pubkey,
        config: RpcAccountInfoConfig,
    ) -> ClientResult<Response<Option<UiAccount>>> {
        self.send(RpcRequest::GetAccountInfo, json!([address.to_string(), config])).await
    }

    /// Confirmed accounts in the order of their addresses; `None` where there is none.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_multiple_accounts(&self, addresses: &[Pubkey]) -> ClientResult<Response<Vec<Option<Account>>>> {
        let config = RpcAccountInfoConfig {
            encoding: Some(UiAccountEncoding::Base64),
            commitment: Some(CommitmentConfig::confirmed()),
            ..RpcAccountInfoConfig::default()
        };
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let Response { context, value } = self
            .send::<Response<Vec<Option<ToldAccount>>>>(RpcRequest::GetMultipleAccounts, json!([addresses, config]))
            .await?;
        Ok(Response { context, value: value.into_iter().map(|told| told.map(ToldAccount::into_account)).collect() })
    }

    /// The statuses of transactions of the last few minutes.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_signature_statuses(
        &self,
        signatures: &[Signature],
    ) -> ClientResult<Response<Vec<Option<TransactionStatus>>>> {
        self.send(RpcRequest::GetSignatureStatuses, json!([texts(signatures)])).await
    }

    /// The statuses of transactions in the node's whole history.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_signature_statuses_with_history(
        &self,
        signatures: &[Signature],
    ) -> ClientResult<Response<Vec<Option<TransactionStatus>>>> {
        let params = json!([texts(signatures), {"searchTransactionHistory": true}]);
        self.send(RpcRequest::GetSignatureStatuses, params).await
    }

    /// The prices at which blocks took transactions that write to all of these accounts.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn get_recent_prioritization_fees(
        &self,
        addresses: &[Pubkey],
    ) -> ClientResult<Vec<RpcPrioritizationFee>> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        self.send(RpcRequest::GetRecentPrioritizationFees, json!([addresses])).await
    }
}

fn texts(signatures: &[Signature]) -> Vec<String> {
    signatures.iter().map(ToString::to_string).collect()
}

/// The methods that this crate calls: the closed list of metric labels.
fn method_label(request: RpcRequest) -> &'static str {
    match request {
        RpcRequest::GetAccountInfo => "getAccountInfo",
        RpcRequest::GetBalance => "getBalance",
        RpcRequest::GetEpochInfo => "getEpochInfo",
        RpcRequest::GetFirstAvailableBlock => "getFirstAvailableBlock",
        RpcRequest::GetGenesisHash => "getGenesisHash",
        RpcRequest::GetMultipleAccounts => "getMultipleAccounts",
        RpcRequest::GetRecentPrioritizationFees => "getRecentPrioritizationFees",
        RpcRequest::GetSignatureStatuses => "getSignatureStatuses",
        RpcRequest::GetSlot => HEIGHT_METHOD,
        RpcRequest::GetTransaction => "getTransaction",
        RpcRequest::IsBlockhashValid => "isBlockhashValid",
        RpcRequest::SendTransaction => "sendTransaction",
        RpcRequest::SimulateTransaction => "simulateTransaction",
        _ => "other",
    }
}

fn outcome<T>(answered: &ClientResult<T>) -> Outcome {
    match answered {
        Ok(_) => Outcome::Ok,
        Err(Failure::Fault(fault)) => Outcome::of(*fault),
        Err(Failure::Node(error)) => Outcome::of_node(error.code, &error.message),
    }
}

/// An account as nodes tell it in base64.
#[derive(Deserialize)]
pub(crate) struct ToldAccount {
    lamports: u64,
    data: (Bytes, IgnoredAny),
    owner: Address,
    executable: bool,
}

impl ToldAccount {
    /// The account; of its rent nodes tell nothing that counts.
    pub fn into_account(self) -> Account {
        let Self { lamports, data: (Bytes(data), _), owner: Address(owner), executable } = self;
        Account { lamports, data, owner, executable, rent_epoch: u64::MAX }
    }
}

/// Bytes that are written in base64.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("base64", |text| BASE64_STANDARD.decode(text).ok().map(Self)))
    }
}

/// An address that is written in base58.
struct Address(Pubkey);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("base58", |text| Pubkey::from_str(text).ok().map(Self)))
    }
}

/// Reads a text where it stands.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::custom(self.0))
    }
}

/// The result of an answer, which may be null.
struct Answered<T>(Option<T>);

impl<T> Default for Answered<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Answered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|result| Self(Some(result)))
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Answer<T> {
    #[serde(default)]
    result: Answered<T>,
    #[serde(default)]
    error: Option<ErrorObject>,
}

/// An answer of which the error alone is looked for: some have a result beside it.
#[derive(Deserialize)]
struct Refused {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// The word of a preflight on a transaction.
#[derive(Deserialize)]
struct Preflight {
    err: Option<UiTransactionError>,
}

impl From<ErrorObject> for Failure {
    fn from(ErrorObject { code, message, data }: ErrorObject) -> Self {
        let preflight = serde_json::from_value::<Preflight>(data).ok();
        let transaction = preflight.and_then(|preflight| preflight.err).map(TransactionError::from);
        Self::Node(NodeError::new(code, &message, transaction))
    }
}

fn answer<T: DeserializeOwned>(bytes: &[u8]) -> ClientResult<T> {
    // A list would be read as the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::Unreadable.into());
    }
    match serde_json::from_slice::<Answer<T>>(bytes) {
        Ok(Answer { error: Some(error), .. }) => Err(error.into()),
        Ok(Answer { result: Answered(Some(result)), .. }) => Ok(result),
        Ok(Answer { result: Answered(None), .. }) => Err(Fault::Unreadable.into()),
        Err(_) => {
            let refused = serde_json::from_slice::<Refused>(bytes).ok();
            Err(refused.map_or_else(|| Fault::Unreadable.into(), |refused| refused.error.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: DeserializeOwned>(text: &str) -> ClientResult<T> {
        answer(text.as_bytes())
    }

    #[test]
    fn answers_are_results_or_what_the_node_says_of_the_transaction() {
        let node = |code, message, transaction| Err(Failure::Node(NodeError::new(code, message, transaction)));
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":7}"#), Ok(7_u64));
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), Ok(None::<u64>));
        assert_eq!(read::<u64>(r#"{"error":{"code":-32601,"message":"no"}}"#), node(-32601, "no", None));
        assert_eq!(read::<u64>(r#"{"result":null,"error":{"code":1,"message":"no"}}"#), node(1, "no", None));
        let text = r#"{"error":{"code":-32002,"message":"m","data":{"err":"AlreadyProcessed","logs":[],"accounts":null,
            "unitsConsumed":0,"returnData":null,"innerInstructions":null}}}"#;
        assert_eq!(read::<u64>(text), node(-32002, "m", Some(TransactionError::AlreadyProcessed)));
        for bad in ["", "<html>", "[]", "[1]", "{}", r#"{"result":null}"#, r#"{"result":"7"}"#] {
            assert_eq!(read::<u64>(bad), Err(Failure::Fault(Fault::Unreadable)), "{bad}");
        }
    }

    #[test]
    fn an_account_is_read_from_its_bytes_and_one_of_another_form_is_unreadable() {
        let told = |data: &str, owner: &str| {
            format!(
                r#"{{"result":{{"context":{{"slot":7}},"value":[null,{{"lamports":5,"data":{data},"owner":"{owner}",
                "executable":false,"rentEpoch":18446744073709551615,"space":2}}]}}}}"#
            )
        };
        let accounts = |text: &str| {
            let read = read::<Response<Vec<Option<ToldAccount>>>>(text)?;
            Ok(read.value.into_iter().map(|told| told.map(ToldAccount::into_account)).collect::<Vec<_>>())
        };
        let (owner, rent_epoch) = (Pubkey::new_from_array([3; 32]), u64::MAX);
        let account = Account { lamports: 5, data: vec![1, 2], owner, executable: false, rent_epoch };
        assert_eq!(accounts(&told(r#"["AQI=","base64"]"#, &owner.to_string())), Ok(vec![None, Some(account)]));
        for (data, owner) in [("\"AQI=\"", "11111111111111111111111111111111"), (r#"["?","base64"]"#, "1"), ("{}", "1")]
        {
            assert_eq!(accounts(&told(data, owner)), Err(Failure::Fault(Fault::Unreadable)), "{data}");
        }
    }
}
