// A smart wallet: moves tokens of its owner's vault in what its owner signs. What it moves may depend on
// what it finds on chain, so that it can be honest or not. The tests assemble this file as they start.
//
// The vault is the address derived from the owner's key. Accounts: 0 the owner, who signs; 1 the vault;
// 2 the vault's tokens; 3 their mint; 4 the token program; 5 the witness; from 6 on who may be paid. None twice.
// Data, as little-endian u64:
//    0  the vault's bump
//    8  limit
//   16  where to look, counted from where the witness begins: see the account's layout below
//   24  how many transfers there are as long as the witness shows no more than the limit
//   32  how many otherwise
//   40  the transfers, those of the first kind first: the number of the account to pay, the amount

// An account in the input, as the runtime lays it out.
.equ REPEATS, 0
.equ NONE, 255
.equ SIGNER, 1
.equ WRITABLE, 2
.equ EXECUTABLE, 3
.equ KEY, 8
.equ OWNER, 40
.equ LAMPORTS, 72
.equ DATA_LENGTH, 80
.equ DATA, 88
// After the data: room to grow, here with what it takes to round up to a multiple of 8; then the rent epoch.
.equ ROOM, 10247
.equ RENT_EPOCH, 8

.equ ACCOUNTS_MAX, 8
.equ DECIMALS, 6

// Below the end of the stack frame: where accounts stand, and what the call takes.
.equ ACCOUNTS, 64
.equ VAULT, 56
.equ SOURCE, 48
.equ MINT, 40
.equ TOKEN_PROGRAM, 32
.equ WITNESS, 24
.equ INFOS, 512
.equ INSTRUCTION, 552
.equ METAS, 616
.equ TRANSFER, 632
.equ SEEDS, 664
.equ SIGNERS, 680
.equ COUNT, 688

.globl entrypoint
entrypoint:
  ldxdw r6, [r1+0]
  jgt r6, ACCOUNTS_MAX, refuse
  stxdw [r10-COUNT], r6
  mov64 r7, r1
  add64 r7, 8
  mov64 r8, r10
  sub64 r8, ACCOUNTS
  mov64 r9, r10
  sub64 r9, INFOS

// r6: accounts to come, r7: the next one, r8: its place among the accounts, r9: its `SolAccountInfo`.
read_account:
  jeq r6, 0, check_owner
  ldxb r2, [r7+REPEATS]
  jne r2, NONE, refuse
  stxdw [r8+0], r7
  mov64 r2, r7
  add64 r2, KEY
  stxdw [r9+0], r2
  mov64 r2, r7
  add64 r2, LAMPORTS
  stxdw [r9+8], r2
  ldxdw r3, [r7+DATA_LENGTH]
  stxdw [r9+16], r3
  mov64 r2, r7
  add64 r2, DATA
  stxdw [r9+24], r2
  mov64 r2, r7
  add64 r2, OWNER
  stxdw [r9+32], r2
  stdw [r9+40], 0
  ldxb r2, [r7+SIGNER]
  stxb [r9+48], r2
  ldxb r2, [r7+WRITABLE]
  stxb [r9+49], r2
  ldxb r2, [r7+EXECUTABLE]
  stxb [r9+50], r2
  add64 r7, r3
  add64 r7, DATA
  add64 r7, ROOM
  and64 r7, -8
  add64 r7, RENT_EPOCH
  add64 r8, 8
  add64 r9, 56
  sub64 r6, 1
  ja read_account

// From here on r7: the data.
check_owner:
  add64 r7, 8
  ldxdw r1, [r10-ACCOUNTS]
  ldxb r2, [r1+SIGNER]
  jeq r2, 0, refuse
  // The vault signs with the seeds owner and bump.
  add64 r1, KEY
  stxdw [r10-SEEDS], r1
  stdw [r10-SEEDS+8], 32
  stxdw [r10-SEEDS+16], r7
  stdw [r10-SEEDS+24], 1
  mov64 r1, r10
  sub64 r1, SEEDS
  stxdw [r10-SIGNERS], r1
  stdw [r10-SIGNERS+8], 2

// From here on r6: transfers to come, r8: the next one.
choose:
  ldxdw r6, [r7+24]
  mov64 r8, r7
  add64 r8, 40
  ldxdw r1, [r10-WITNESS]
  ldxdw r2, [r7+16]
  add64 r1, r2
  ldxdw r1, [r1+0]
  ldxdw r2, [r7+8]
  jle r1, r2, transfer
  lsh64 r6, 4
  add64 r8, r6
  ldxdw r6, [r7+32]

transfer:
  jeq r6, 0, done
  // TransferChecked
  stb [r10-TRANSFER], 12
  ldxdw r1, [r8+8]
  stxdw [r10-TRANSFER+1], r1
  stb [r10-TRANSFER+9], DECIMALS
  // A `SolAccountMeta`: the key, then whether it is writable and whether it signs.
  ldxdw r1, [r10-SOURCE]
  add64 r1, KEY
  stxdw [r10-METAS], r1
  sth [r10-METAS+8], 0x0001
  ldxdw r1, [r10-MINT]
  add64 r1, KEY
  stxdw [r10-METAS+16], r1
  sth [r10-METAS+24], 0x0000
  ldxdw r1, [r8+0]
  lsh64 r1, 3
  add64 r1, r10
  ldxdw r1, [r1-ACCOUNTS]
  add64 r1, KEY
  stxdw [r10-METAS+32], r1
  sth [r10-METAS+40], 0x0001
  ldxdw r1, [r10-VAULT]
  add64 r1, KEY
  stxdw [r10-METAS+48], r1
  sth [r10-METAS+56], 0x0100
  // The `SolInstruction`.
  ldxdw r1, [r10-TOKEN_PROGRAM]
  add64 r1, KEY
  stxdw [r10-INSTRUCTION], r1
  mov64 r1, r10
  sub64 r1, METAS
  stxdw [r10-INSTRUCTION+8], r1
  stdw [r10-INSTRUCTION+16], 4
  mov64 r1, r10
  sub64 r1, TRANSFER
  stxdw [r10-INSTRUCTION+24], r1
  stdw [r10-INSTRUCTION+32], 10
  mov64 r1, r10
  sub64 r1, INSTRUCTION
  mov64 r2, r10
  sub64 r2, INFOS
  ldxdw r3, [r10-COUNT]
  mov64 r4, r10
  sub64 r4, SIGNERS
  mov64 r5, 1
  call sol_invoke_signed_c
  add64 r8, 16
  sub64 r6, 1
  ja transfer

done:
  mov64 r0, 0
  exit

refuse:
  mov64 r0, 1
  exit
