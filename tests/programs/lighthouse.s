// Stands in for Lighthouse, whose program is on public clusters only: compares the lamports of one account
// (`AssertAccountInfo`, `Lamports`) or the tokens in it (`AssertTokenAccount`, `Amount`) with a number, by `=`, `>`
// or `>=`. Everything else that it is asked to assert holds. The tests assemble this file as they start.
//
// Data: 0 the instruction; 1 the log level; 2 the assertion; 3 the number, as little-endian u64; 11 the operator.

// An account in the input, as the runtime lays it out.
.equ LAMPORTS, 72
.equ DATA_LENGTH, 80
.equ DATA, 88
.equ AMOUNT, 152
// After the data: room to grow, here with what it takes to round up to a multiple of 8; then the rent epoch.
.equ ROOM, 10247
.equ RENT_EPOCH, 8

.equ ASSERT_ACCOUNT_INFO, 5
.equ ASSERT_TOKEN_ACCOUNT, 9
.equ LAMPORTS_OF_INFO, 0
.equ AMOUNT_OF_TOKEN, 2
.equ EQUAL, 0
.equ GREATER, 2
.equ AT_LEAST, 4

.globl entrypoint
entrypoint:
  ldxdw r6, [r1+0]
  jne r6, 1, holds
  mov64 r7, r1
  add64 r7, 8
  ldxdw r3, [r7+DATA_LENGTH]
  mov64 r8, r7
  add64 r8, r3
  add64 r8, DATA
  add64 r8, ROOM
  and64 r8, -8
  add64 r8, RENT_EPOCH
  add64 r8, 8

// From here on r7: the account, r8: the instruction's data.
  ldxb r2, [r8+0]
  ldxb r4, [r8+2]
  jeq r2, ASSERT_ACCOUNT_INFO, account_info
  jeq r2, ASSERT_TOKEN_ACCOUNT, token_account
  ja holds

account_info:
  jne r4, LAMPORTS_OF_INFO, holds
  ldxdw r1, [r7+LAMPORTS]
  ja compare

token_account:
  jne r4, AMOUNT_OF_TOKEN, holds
  ldxdw r1, [r7+AMOUNT]

compare:
  ldxdw r3, [r8+3]
  ldxb r2, [r8+11]
  jeq r2, EQUAL, equal
  jeq r2, GREATER, greater
  jeq r2, AT_LEAST, at_least
  ja holds

equal:
  jeq r1, r3, holds
  ja fails

greater:
  jgt r1, r3, holds
  ja fails

at_least:
  jge r1, r3, holds

fails:
  mov64 r0, 1
  exit

holds:
  mov64 r0, 0
  exit
