// Every way in which our verdict on a payment may differ from the official facilitator's, and why. A case falls under a row when one of its
// mutations is of the row's class, and both said what the row says. `throws`: the reference's servers answer with 500.

const rows = (why, ours, references) =>
  Object.entries(references).flatMap(([kind, answers]) => [answers].flat().map((reference) => ({ class: kind, reference, ours, why })));

/** Where several things are wrong with a payment, both refuse it, and ours names what it names where that alone is wrong. */
export const ORDER = { class: "several faults at once", reference: "a refusal", ours: "the code of one of them", why: "Ours looks at the request, then at what needs no chain, then asks the chain once; the reference asks in between." };

const GRAMMAR = "One grammar for every text, checked before anything else: what is written otherwise is refused, whether the reference happens to read it or trips over it.";
const POLICY = "The operator's rules about what may be asked.";
const DISPATCH = "The reference throws where it serves no such version, scheme or network; ours is a verdict with the specification's code.";

const CREDULOUS = "A wallet that takes every signature pays by any domain; ours has the asset's from its configuration.";
const SIGNATURE = "invalid_exact_evm_signature";
const SIMULATION = "invalid_exact_evm_transaction_simulation_failed";
const VALUE = ["invalid_exact_evm_authorization_value", "invalid_exact_evm_payload_authorization_value_mismatch"];

export const DIFFERENCES = [
  ...rows(GRAMMAR, "invalid_payload", {
    "a number in JSON": "valid",
    "a number spelled otherwise": "valid",
    "no number": ["valid", "throws", SIGNATURE],
    "no address": SIGNATURE,
    "no word": SIGNATURE,
    "no signature": ["throws", SIGNATURE],
    "a signature of more than 4,096 bytes": SIGNATURE,
    "no text": ["invalid_exact_evm_scheme", "invalid_exact_evm_network_mismatch"],
    "no object": ["throws", "invalid_exact_evm_scheme"],
    "extensions that are no object": "valid",
  }),
  ...rows(GRAMMAR, "invalid_payment_requirements", {
    "a number in JSON": "valid",
    "a number spelled otherwise": "valid",
    "no number": ["throws", ...VALUE],
    "no address": ["valid", "throws"],
    "no text": ["throws", "invalid_exact_evm_network_mismatch"],
    "no object": ["throws", "invalid_exact_evm_missing_eip712_domain"],
  }),
  ...rows(GRAMMAR, "invalid_exact_evm_missing_eip712_domain", { "no text": SIGNATURE }),
  ...rows("Without payment or requirements there is nothing to judge.", "400 missing_parameters", { "no object": "throws" }),
  ...rows(DISPATCH, "invalid_x402_version", { "another protocol version": "throws", "no object": "throws" }),
  ...rows("Read as the version that it names, it lacks that version's amount.", "invalid_payment_requirements", { "another protocol version": "throws" }),
  ...rows(DISPATCH, "invalid_network", { "another network demanded": "throws", "another text": "throws" }),
  ...rows(DISPATCH, "unsupported_scheme", { "another scheme demanded": ["throws", "unsupported_payload_type"], "another text": "throws" }),
  ...rows("A payload of two methods is of the one that is not served; the authorization beside it does not count.", "unsupported_payload_type", {
    "a Permit2 key beside the authorization": ["valid", "throws"],
    "ERC-7710 keys beside the authorization": "valid",
  }),
  ...rows(POLICY, "invalid_payment_requirements", {
    "an asset that is not accepted": ["valid", "asset_not_deployed_contract", "invalid_exact_evm_eip3009_not_supported"],
    "nothing is demanded": VALUE,
    "nothing is paid": "valid",
    "dust is paid": "valid",
    "paid to nobody": SIMULATION,
    "paid to oneself": ["valid", SIMULATION],
    "paid to the token": "valid",
    "paid to the gas wallet": "valid",
  }),
  ...rows("Addresses are compared as bytes; their letter case says nothing.", "valid", {
    "an address in other case": SIGNATURE,
    "an address with a wrong checksum": SIGNATURE,
  }),
  ...rows("USDC takes v of 27 and 28 alone; ours sends that, the reference what it got.", "valid", { "a signature with v of 0 or 1": SIMULATION }),
  ...rows("A high s is refused before the token does it.", SIGNATURE, { "a signature with a high s": SIMULATION }),
  ...rows("A wrapper that is none is a signature like any other.", SIGNATURE, { "an ERC-6492 wrapper around nothing": "throws" }),
  ...rows("A wrapper that deploys nothing adds nothing to the payer's own signature in it.", "valid", { "an ERC-6492 wrapper": ["eip6492_factory_not_allowed", SIGNATURE] }),
  ...rows("A wrapper that deploys nothing is taken off, once.", SIGNATURE, { "an ERC-6492 wrapper": "eip6492_factory_not_allowed" }),
  ...rows("A wrapper is strict ABI, or none.", SIGNATURE, { "an ERC-6492 wrapper with dirt in it": "valid" }),
  ...rows("A wallet's answer counts only as tokens read it: four bytes and zeros.", SIGNATURE, { "a wallet whose answer has dirt in it": SIMULATION }),
  ...rows("The reference believes a token that does not revert; ours looks at what the payee has.", "invalid_exact_evm_transfer_event_mismatch", { "a hostile token": "valid" }),
  ...rows("What a transfer may cost has a cap.", "gas_limit_exceeded", { "a hostile token": "valid", "a wallet that takes everything": "valid" }),
  ...rows("The balance counts, not what a token does without it.", "invalid_exact_evm_insufficient_balance", { "a hostile token": ["valid", SIMULATION] }),
  ...rows(POLICY, "invalid_payment_requirements", { "a hostile token": ["valid", SIMULATION] }),
  ...rows(CREDULOUS, "invalid_exact_evm_token_name_mismatch", { "a wallet that takes everything": "valid" }),
  ...rows(CREDULOUS, "invalid_exact_evm_token_version_mismatch", { "a wallet that takes everything": "valid" }),
  ...rows(CREDULOUS, "invalid_exact_evm_missing_eip712_domain", { "a wallet that takes everything": "valid" }),
  ...rows("What is no signature of at most 4,096 bytes is none for a wallet that takes everything, either.", "invalid_payload", { "a wallet that takes everything": "valid" }),
  ...rows("What trips the reference over is a signature for a wallet that takes everything.", "valid", { "a wallet that takes everything": ["throws", SIMULATION] }),
];
