//! The JSON-RPC methods that are used, and calls of them.

use alloy::{
    hex,
    primitives::{Address, B256, U256},
};

/// Every method this crate ever calls: also the closed list of metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `debug_traceTransaction`
    TraceTransaction,
    /// `trace_transaction`
    FlatTrace,
    /// `eth_blockNumber`
    BlockNumber,
    /// `eth_call`
    Call,
    /// `eth_chainId`
    ChainId,
    /// `eth_getBalance`
    GetBalance,
    /// `eth_getBlockByNumber`
    GetBlockByNumber,
    /// `eth_getBlockReceipts`
    GetBlockReceipts,
    /// `eth_getCode`
    GetCode,
    /// `eth_getLogs`
    GetLogs,
    /// `eth_getStorageAt`
    GetStorageAt,
    /// `eth_getTransactionByHash`
    GetTransactionByHash,
    /// `eth_getTransactionCount`
    GetTransactionCount,
    /// `eth_getTransactionReceipt`
    GetTransactionReceipt,
    /// `eth_maxPriorityFeePerGas`
    MaxPriorityFeePerGas,
    /// `eth_sendRawTransaction`
    SendRawTransaction,
    /// `eth_sendRawTransactionSync`
    SendRawTransactionSync,
}

impl Method {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceTransaction => "debug_traceTransaction",
            Self::FlatTrace => "trace_transaction",
            Self::BlockNumber => "eth_blockNumber",
            Self::Call => "eth_call",
            Self::ChainId => "eth_chainId",
            Self::GetBalance => "eth_getBalance",
            Self::GetBlockByNumber => "eth_getBlockByNumber",
            Self::GetBlockReceipts => "eth_getBlockReceipts",
            Self::GetCode => "eth_getCode",
            Self::GetLogs => "eth_getLogs",
            Self::GetStorageAt => "eth_getStorageAt",
            Self::GetTransactionByHash => "eth_getTransactionByHash",
            Self::GetTransactionCount => "eth_getTransactionCount",
            Self::GetTransactionReceipt => "eth_getTransactionReceipt",
            Self::MaxPriorityFeePerGas => "eth_maxPriorityFeePerGas",
            Self::SendRawTransaction => "eth_sendRawTransaction",
            Self::SendRawTransactionSync => "eth_sendRawTransactionSync",
        }
    }
}

/// One call, its parameters as JSON text.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The JSON array of parameters.
    pub params: String,
}

/// A block to read the state of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// The newest, and what waits in the node's pool.
    Pending,
    /// The newest that the chain can no longer take back.
    Finalized,
    /// The one at this height.
    Number(u64),
    /// The one with this hash, as long as it is part of the chain (EIP-1898).
    Hash(B256),
}

/// As JSON.
impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("\"latest\""),
            Self::Pending => f.write_str("\"pending\""),
            Self::Finalized => f.write_str("\"finalized\""),
            Self::Number(number) => write!(f, "\"{number:#x}\""),
            Self::Hash(hash) => write!(f, "{{\"blockHash\":\"{hash:#x}\",\"requireCanonical\":true}}"),
        }
    }
}

impl Call {
    fn new(method: Method, params: String) -> Self {
        Self { method, params }
    }

    /// `eth_chainId`
    pub fn chain_id() -> Self {
        Self::new(Method::ChainId, "[]".to_owned())
    }

    /// `eth_blockNumber`
    pub fn block_number() -> Self {
        Self::new(Method::BlockNumber, "[]".to_owned())
    }

    /// `eth_getBlockByNumber`, transactions as hashes.
    pub fn block(at: At) -> Self {
        Self::new(Method::GetBlockByNumber, format!("[{at},false]"))
    }

    /// `eth_getBalance`
    pub fn balance(account: Address) -> Self {
        Self::new(Method::GetBalance, format!("[\"{account:#x}\",\"latest\"]"))
    }

    /// `eth_getCode`
    pub fn code(account: Address) -> Self {
        Self::new(Method::GetCode, format!("[\"{account:#x}\",\"latest\"]"))
    }

    /// `eth_getStorageAt`
    pub fn storage(account: Address, slot: B256) -> Self {
        Self::new(Method::GetStorageAt, format!("[\"{account:#x}\",\"{slot:#x}\",\"latest\"]"))
    }

    /// `eth_getTransactionCount`
    pub fn transaction_count(account: Address, at: At) -> Self {
        Self::new(Method::GetTransactionCount, format!("[\"{account:#x}\",{at}]"))
    }

    /// `eth_getTransactionByHash`
    pub fn transaction(hash: &str) -> Self {
        Self::new(Method::GetTransactionByHash, format!("[{}]", serde_json::Value::from(hash)))
    }

    /// `debug_traceTransaction`: the calls of a transaction, as a tree.
    pub fn trace(hash: &str) -> Self {
        let params = format!("[{},{{\"tracer\":\"callTracer\"}}]", serde_json::Value::from(hash));
        Self::new(Method::TraceTransaction, params)
    }

    /// `trace_transaction`: the same as a flat list, where nodes have that.
    pub fn flat_trace(hash: &str) -> Self {
        Self::new(Method::FlatTrace, format!("[{}]", serde_json::Value::from(hash)))
    }

    /// `eth_getTransactionReceipt`
    pub fn receipt(transaction: &str) -> Self {
        // Hashes come from our own signing; quoting keeps the text JSON anyway.
        Self::new(Method::GetTransactionReceipt, format!("[{}]", serde_json::Value::from(transaction)))
    }

    /// `eth_getBlockReceipts`
    pub fn block_receipts(at: At) -> Self {
        Self::new(Method::GetBlockReceipts, format!("[{at}]"))
    }

    /// `eth_maxPriorityFeePerGas`
    pub fn recommended_tip() -> Self {
        Self::new(Method::MaxPriorityFeePerGas, "[]".to_owned())
    }

    /// `eth_sendRawTransaction`
    pub fn send(raw: &[u8]) -> Self {
        Self::new(Method::SendRawTransaction, format!("[\"{}\"]", hex::encode_prefixed(raw)))
    }

    /// `eth_sendRawTransactionSync`. How long to wait is left to the node: some take no second parameter.
    pub fn send_sync(raw: &[u8]) -> Self {
        Self::new(Method::SendRawTransactionSync, format!("[\"{}\"]", hex::encode_prefixed(raw)))
    }

    /// `eth_call` of a contract.
    pub fn view(to: Address, data: &[u8], at: At) -> Self {
        Self::new(Method::Call, format!("[{{\"to\":\"{to:#x}\",\"data\":\"{}\"}},{at}]", hex::encode_prefixed(data)))
    }

    /// `eth_call` of a contract as one of our transactions would.
    pub fn replay(from: Address, to: Address, data: &[u8], gas: u64, at: At) -> Self {
        let data = hex::encode_prefixed(data);
        let params =
            format!("[{{\"from\":\"{from:#x}\",\"to\":\"{to:#x}\",\"data\":\"{data}\",\"gas\":\"{gas:#x}\"}},{at}]");
        Self::new(Method::Call, params)
    }

    /// `eth_getLogs` of one contract, first topic any of `events`.
    pub fn logs(address: Address, events: &[B256], more: &[B256], from: u64, to: u64) -> Self {
        let topics: Vec<_> =
            std::iter::once(serde_json::json!(events)).chain(more.iter().map(|t| serde_json::json!(t))).collect();
        let filter = serde_json::json!([{
            "address": address, "topics": topics, "fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}"),
        }]);
        Self::new(Method::GetLogs, filter.to_string())
    }
}

/// A number as JSON-RPC writes it.
pub fn quantity(text: &str) -> Option<U256> {
    text.strip_prefix("0x").filter(|d| !d.is_empty()).and_then(|digits| U256::from_str_radix(digits, 16).ok())
}
