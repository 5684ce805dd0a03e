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
const SIGNATURE_2 = "invalid_permit2_signature";
const SIMULATION_2 = "permit2_simulation_failed";
const ALLOWANCE = "permit2_allowance_required";

export const DIFFERENCES = [
  ...rows(GRAMMAR, "invalid_payload", {
    "a number in JSON": ["valid", SIGNATURE_2],
    "a number spelled otherwise": "valid",
    "no number": ["valid", "throws", SIGNATURE, SIGNATURE_2, "permit2_amount_mismatch", "permit2_deadline_expired", "permit2_not_yet_valid"],
    "no address": ["valid", "throws", SIGNATURE, SIGNATURE_2],
    "no word": SIGNATURE,
    "no signature": ["throws", SIGNATURE, SIGNATURE_2],
    "a signature of more than 4,096 bytes": [SIGNATURE, SIGNATURE_2],
    "no text": ["unsupported_payload_type", "invalid_exact_evm_scheme", "invalid_exact_evm_network_mismatch", "invalid_upto_evm_scheme", "invalid_upto_evm_network_mismatch"],
    "no object": ["throws", "unsupported_payload_type", "invalid_exact_evm_scheme", "invalid_upto_evm_scheme"],
    "extensions that are no object": ["valid", ALLOWANCE],
    "in a permit: no object": ALLOWANCE,
  }),
  ...rows(GRAMMAR, "invalid_payment_requirements", {
    "a number in JSON": "valid",
    "a number spelled otherwise": "valid",
    "no number": ["throws", "permit2_amount_mismatch", ...VALUE],
    "no address": ["valid", "throws"],
    "no text": ["throws", "invalid_exact_evm_network_mismatch", "invalid_upto_evm_network_mismatch"],
    "no object": ["valid", "throws", "invalid_exact_evm_missing_eip712_domain"],
  }),
  ...rows(GRAMMAR, "invalid_eip2612_extension_format", {
    "in a permit: a number in JSON": "valid",
    "in a permit: a number spelled otherwise": "valid",
    "in a permit: no number": ["valid", ALLOWANCE],
    "in a permit: no address": "valid",
    "in a permit: no text": "valid",
  }),
  ...rows("A permit has the 65 bytes of a key's signature; the reference learns it from a simulation that fails.", "invalid_eip2612_extension_format", {
    "in a permit: another signature": ALLOWANCE,
    "in a permit: a signature of 64 bytes": ALLOWANCE,
    "in a permit: no signature": ALLOWANCE,
    "in a permit: a signature of more than 4,096 bytes": ALLOWANCE,
    "in a permit: an ERC-6492 wrapper around nothing": ALLOWANCE,
    "a wrapper of a deployed wallet": SIGNATURE_2,
  }),
  ...rows(GRAMMAR, "invalid_exact_evm_missing_eip712_domain", { "no text": SIGNATURE }),
  ...rows("Without payment or requirements there is nothing to judge.", "400 missing_parameters", { "no object": "throws" }),
  ...rows(DISPATCH, "invalid_x402_version", { "another protocol version": "throws", "no object": "throws" }),
  ...rows("Read as the version that it names, it lacks that version's amount.", "invalid_payment_requirements", { "another protocol version": "throws" }),
  ...rows(DISPATCH, "invalid_network", { "another network demanded": "throws", "another text": "throws" }),
  ...rows(DISPATCH, "unsupported_scheme", { "another scheme demanded": "throws", "another text": "throws" }),
  ...rows("A payload of two methods is of the one that the facilitator looks for first; the authorization beside it does not count.", "invalid_payload", {
    "a Permit2 key beside the authorization": "throws",
  }),
  ...rows("v1 knows EIP-3009 only.", "unsupported_payload_type", { "a Permit2 key beside the authorization": "valid" }),
  ...rows("ERC-7710 is not served.", "unsupported_payload_type", { "ERC-7710 keys beside the authorization": "valid" }),
  ...rows(POLICY, "invalid_payment_requirements", {
    "an asset that is not accepted": ["valid", "asset_not_deployed_contract", "invalid_exact_evm_eip3009_not_supported", ALLOWANCE],
    "another token demanded": "permit2_token_mismatch",
    "nothing is demanded": ["permit2_amount_mismatch", ...VALUE],
    "nothing is paid": ["valid", SIMULATION_2],
    "dust is paid": "valid",
    "paid to nobody": [SIMULATION, SIMULATION_2, ALLOWANCE],
    "paid to oneself": ["valid", SIMULATION],
    "paid to the token": "valid",
    "paid to the gas wallet": "valid",
    "a hostile token": ["valid", SIMULATION, SIMULATION_2, ALLOWANCE],
  }),
  ...rows("Addresses are compared as bytes; their letter case says nothing.", "valid", {
    "an address in other case": [SIGNATURE, SIGNATURE_2],
    "an address with a wrong checksum": [SIGNATURE, SIGNATURE_2],
  }),
  ...rows("Tokens and Permit2 take v of 27 and 28 alone; ours sends that, the reference what it got.", "valid", {
    "a signature with v of 0 or 1": [SIMULATION, SIMULATION_2, ALLOWANCE],
    "in a permit: a signature with v of 0 or 1": ALLOWANCE,
  }),
  ...rows("A high s is refused before the token does it.", SIGNATURE, { "a signature with a high s": SIMULATION }),
  ...rows("A high s is a second spelling of a signature, which Permit2 would take; no wallet writes it.", SIGNATURE_2, { "a signature with a high s": "valid" }),
  ...rows("A wrapper that is none is a signature like any other.", SIGNATURE, { "an ERC-6492 wrapper around nothing": "throws" }),
  ...rows("A wrapper that deploys nothing adds nothing to the payer's own signature in it.", "valid", {
    "an ERC-6492 wrapper": ["eip6492_factory_not_allowed", SIGNATURE, SIGNATURE_2],
    "a wrapper of a deployed wallet": SIGNATURE_2,
  }),
  ...rows("64 bytes are a signature of EIP-2098, which Permit2 takes, and which says all that EIP-3009 asks for.", "valid", {
    "a signature of 64 bytes": [SIGNATURE, SIGNATURE_2],
  }),
  ...rows("The wallet is there: what a wrapper would call to deploy it is not called.", "valid", { "an ERC-6492 wrapper that calls somebody": SIGNATURE_2 }),
  ...rows("A wrapper that deploys nothing is taken off, once.", SIGNATURE, { "an ERC-6492 wrapper": "eip6492_factory_not_allowed" }),
  ...rows("A wrapper is strict ABI, or none.", SIGNATURE, { "an ERC-6492 wrapper with dirt in it": "valid" }),
  ...rows("A wallet's answer counts only as tokens read it: four bytes and zeros.", SIGNATURE, { "a wallet whose answer has dirt in it": SIMULATION }),
  ...rows("As above, as Permit2 reads it.", SIGNATURE_2, { "a wallet whose answer has dirt in it": ALLOWANCE }),
  ...rows("Simulated at the gas price of a transaction, as which it would fail.", SIGNATURE, { "a wallet that is good where gas costs nothing": "valid" }),
  ...rows("As above.", SIGNATURE_2, { "a wallet that is good where gas costs nothing": "valid" }),
  ...rows("The reference believes a token that does not revert; ours looks at what the payee has.", "invalid_exact_evm_transfer_event_mismatch", { "a hostile token": "valid" }),
  ...rows("As above.", "invalid_upto_evm_transfer_event_mismatch", { "a hostile token": "valid" }),
  ...rows("What a transfer may cost has a cap.", "gas_limit_exceeded", { "a hostile token": "valid", "a wallet that takes everything": "valid" }),
  ...rows("The balance counts, not what a token does without it.", "invalid_exact_evm_insufficient_balance", { "a hostile token": ["valid", SIMULATION] }),
  ...rows("With a permit to come it is not the allowance that is missing.", SIMULATION_2, { "a nonce that was invalidated": ALLOWANCE }),
  ...rows("What a permit has to say is known before anything is simulated.", "permit2_2612_amount_mismatch", {
    "a permit over another amount": ALLOWANCE,
    "a permit that was changed": ALLOWANCE,
  }),
  ...rows("The reference refuses the 64 bytes of the signature beside it, which ours takes.", "eip2612_deadline_expired", { "a permit that was changed": SIGNATURE_2 }),
  ...rows(CREDULOUS, "invalid_exact_evm_token_name_mismatch", { "a wallet that takes everything": "valid" }),
  ...rows(CREDULOUS, "invalid_exact_evm_token_version_mismatch", { "a wallet that takes everything": "valid" }),
  ...rows(CREDULOUS, "invalid_exact_evm_missing_eip712_domain", { "a wallet that takes everything": "valid" }),
  ...rows("What is no signature of at most 4,096 bytes is none for a wallet that takes everything, either.", "invalid_payload", { "a wallet that takes everything": ["valid", ALLOWANCE] }),
  ...rows("What trips the reference over is a signature for a wallet that takes everything.", "valid", { "a wallet that takes everything": ["throws", SIMULATION] }),
  ...rows("As above; this one has approved nothing.", ALLOWANCE, { "a wallet that takes everything": "throws" }),
];
