/* A PKCS#11 module for tests: forwards each call to a real module, and misbehaves where a plan says so.
 *
 * FAULT_MODULE_REAL       path of the real module.
 * FAULT_MODULE_DIRECTORY  a directory with two files:
 *
 *   plan   read at each call, so that a test can change it at any time (by renaming another onto it). One fault a line:
 *              CALL FIRST LAST ACTION ARGUMENT
 *          CALL is a function's name. FIRST and LAST count the calls of that function since the file `calls` was made,
 *          in all processes; LAST 0 means for ever. The first line that applies is obeyed. Actions:
 *              return CODE  do nothing and return the code      late CODE  do it, and return the code all the same
 *              delay MS     wait, then do it                    hang 0     never return
 *              crash 0      SIGSEGV                             exit N     end the process, as some libraries do
 *              expire 0     close all sessions, then do it      hide 0     find no objects
 *              flip 0       flip one bit of the signature       shorten N  say that the signature is N bytes shorter
 *              flag FLAG    say that the token has the flag (of CK_TOKEN_INFO)
 *   calls  how often each function was called: records of a name (32 bytes, padded with zeros) and a number (8 bytes).
 *
 * The declarations are our own: CK_ULONG, pointers and CK_BBOOL all travel as one machine word on the LP64 systems that
 * tests run on, so that a function is described by its name and its number of arguments.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long Word;
_Static_assert(sizeof(Word) == sizeof(void *), "CK_ULONG and pointers must have one size");

enum { CKR_OK = 0, CKR_GENERAL_ERROR = 5 };

/* CK_FUNCTION_LIST of PKCS#11 2.40, in its order, with the number of each function's arguments. */
#define FUNCTIONS(X) \
    X(C_Initialize, 1) X(C_Finalize, 1) X(C_GetInfo, 1) X(C_GetFunctionList, 1) X(C_GetSlotList, 3) \
    X(C_GetSlotInfo, 2) X(C_GetTokenInfo, 2) X(C_GetMechanismList, 3) X(C_GetMechanismInfo, 3) X(C_InitToken, 4) \
    X(C_InitPIN, 3) X(C_SetPIN, 5) X(C_OpenSession, 5) X(C_CloseSession, 1) X(C_CloseAllSessions, 1) \
    X(C_GetSessionInfo, 2) X(C_GetOperationState, 3) X(C_SetOperationState, 5) X(C_Login, 4) X(C_Logout, 1) \
    X(C_CreateObject, 4) X(C_CopyObject, 5) X(C_DestroyObject, 2) X(C_GetObjectSize, 3) X(C_GetAttributeValue, 4) \
    X(C_SetAttributeValue, 4) X(C_FindObjectsInit, 3) X(C_FindObjects, 4) X(C_FindObjectsFinal, 1) \
    X(C_EncryptInit, 3) X(C_Encrypt, 5) X(C_EncryptUpdate, 5) X(C_EncryptFinal, 3) X(C_DecryptInit, 3) \
    X(C_Decrypt, 5) X(C_DecryptUpdate, 5) X(C_DecryptFinal, 3) X(C_DigestInit, 2) X(C_Digest, 5) X(C_DigestUpdate, 3) \
    X(C_DigestKey, 2) X(C_DigestFinal, 3) X(C_SignInit, 3) X(C_Sign, 5) X(C_SignUpdate, 3) X(C_SignFinal, 3) \
    X(C_SignRecoverInit, 3) X(C_SignRecover, 5) X(C_VerifyInit, 3) X(C_Verify, 5) X(C_VerifyUpdate, 3) \
    X(C_VerifyFinal, 3) X(C_VerifyRecoverInit, 3) X(C_VerifyRecover, 5) X(C_DigestEncryptUpdate, 5) \
    X(C_DecryptDigestUpdate, 5) X(C_SignEncryptUpdate, 5) X(C_DecryptVerifyUpdate, 5) X(C_GenerateKey, 5) \
    X(C_GenerateKeyPair, 8) X(C_WrapKey, 6) X(C_UnwrapKey, 8) X(C_DeriveKey, 6) X(C_SeedRandom, 3) \
    X(C_GenerateRandom, 3) X(C_GetFunctionStatus, 1) X(C_CancelFunction, 1) X(C_WaitForSlotEvent, 3)

#define INDEX(name, arguments) INDEX_##name,
enum { FUNCTIONS(INDEX) FUNCTION_COUNT };

#define NAME(name, arguments) #name,
static const char *const names[] = {FUNCTIONS(NAME)};

typedef Word (*Function)(); /* Called with as many words as the table says. */

typedef struct {
    unsigned char version[2];
    Function functions[FUNCTION_COUNT];
} FunctionList;

typedef struct {
    char name[32];
    _Atomic uint64_t calls;
} Record;

typedef struct {
    char action[16];
    unsigned long argument;
} Fault;

static FunctionList *real;
static Record *records;
static char plan[4096];
static Word slot; /* The one that a session was opened on last. */

static int is(const Fault *fault, const char *action) { return !strcmp(fault->action, action); }

static Fault planned(const char *call, uint64_t number) {
    Fault fault = {"", 0};
    FILE *file = fopen(plan, "re");
    if (file == NULL)
        return fault;
    char name[32];
    unsigned long first, last;
    while (fscanf(file, "%31s %lu %lu %15s %lu", name, &first, &last, fault.action, &fault.argument) == 5) {
        if (!strcmp(name, call) && first <= number && (last == 0 || number <= last))
            break;
        fault.action[0] = '\0';
    }
    fclose(file);
    return fault;
}

static Word forward(int index, int arguments, const Word *a) {
    Function f = real->functions[index];
    switch (arguments) {
    case 1: return f(a[0]);
    case 2: return f(a[0], a[1]);
    case 3: return f(a[0], a[1], a[2]);
    case 4: return f(a[0], a[1], a[2], a[3]);
    case 5: return f(a[0], a[1], a[2], a[3], a[4]);
    case 6: return f(a[0], a[1], a[2], a[3], a[4], a[5]);
    default: return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    }
}

/* What happens instead of the call. True when there is nothing left to do. */
static int misbehave_before(const Fault *fault, int index, const Word *a) {
    if (is(fault, "return")) {
        unsigned char unwanted[1024];
        Word length = sizeof unwanted;
        if (index == INDEX_C_Sign) /* Whatever C_Sign returns ends the operation (PKCS#11 3.0, section 5.13.2). */
            real->functions[INDEX_C_Sign](a[0], a[1], a[2], unwanted, &length);
        return 1;
    }
    if (is(fault, "crash")) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (is(fault, "exit"))
        _exit((int)fault->argument);
    while (is(fault, "hang"))
        pause();
    if (is(fault, "delay")) {
        struct timespec wait = {(time_t)(fault->argument / 1000), (long)(fault->argument % 1000) * 1000000};
        nanosleep(&wait, NULL);
    }
    if (is(fault, "expire"))
        real->functions[INDEX_C_CloseAllSessions](slot);
    return 0;
}

/* What happens to the answer of a call that succeeded. */
static Word misbehave_after(const Fault *fault, int index, const Word *a) {
    if (is(fault, "late"))
        return fault->argument;
    if (index == INDEX_C_FindObjects && is(fault, "hide"))
        *(Word *)a[3] = 0;
    if (index == INDEX_C_GetTokenInfo && is(fault, "flag"))
        *(Word *)(a[1] + 96) |= fault->argument; /* CK_TOKEN_INFO.flags follow 32 + 32 + 16 + 16 characters. */
    if (index == INDEX_C_Sign && a[3] != 0) { /* Without a buffer it is only asked for the length. */
        if (is(fault, "flip"))
            ((unsigned char *)a[3])[*(Word *)a[4] / 2] ^= 1;
        if (is(fault, "shorten"))
            *(Word *)a[4] -= fault->argument < *(Word *)a[4] ? fault->argument : *(Word *)a[4];
    }
    return CKR_OK;
}

static Word call(int index, int arguments, const Word *a) {
    uint64_t number = atomic_fetch_add(&records[index].calls, 1) + 1;
    Fault fault = planned(names[index], number);
    if (index == INDEX_C_OpenSession)
        slot = a[0];
    if (misbehave_before(&fault, index, a))
        return fault.argument;
    Word result = forward(index, arguments, a);
    return result == CKR_OK ? misbehave_after(&fault, index, a) : result;
}

#define PARAMETERS_1 Word a
#define PARAMETERS_2 PARAMETERS_1, Word b
#define PARAMETERS_3 PARAMETERS_2, Word c
#define PARAMETERS_4 PARAMETERS_3, Word d
#define PARAMETERS_5 PARAMETERS_4, Word e
#define PARAMETERS_6 PARAMETERS_5, Word f
#define PARAMETERS_8 PARAMETERS_6, Word g, Word h
#define VALUES_1 a
#define VALUES_2 VALUES_1, b
#define VALUES_3 VALUES_2, c
#define VALUES_4 VALUES_3, d
#define VALUES_5 VALUES_4, e
#define VALUES_6 VALUES_5, f
#define VALUES_8 VALUES_6, g, h
#define WRAPPER(name, arguments) \
    static Word wrapped_##name(PARAMETERS_##arguments) { \
        return call(INDEX_##name, arguments, (const Word[]){VALUES_##arguments}); \
    }
FUNCTIONS(WRAPPER)

#define ENTRY(name, arguments) wrapped_##name,
static FunctionList ours = {{2, 40}, {FUNCTIONS(ENTRY)}};

static int open_records(const char *directory) {
    char path[4096];
    snprintf(path, sizeof path, "%s/calls", directory);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof(Record[FUNCTION_COUNT])))
        return 0;
    records = mmap(NULL, sizeof(Record[FUNCTION_COUNT]), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (records == MAP_FAILED)
        return 0;
    for (int index = 0; index < FUNCTION_COUNT; index++)
        strcpy(records[index].name, names[index]);
    return 1;
}

__attribute__((visibility("default"))) Word C_GetFunctionList(FunctionList **list) {
    const char *module = getenv("FAULT_MODULE_REAL"), *directory = getenv("FAULT_MODULE_DIRECTORY");
    if (real == NULL) {
        void *library = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
        Function get_list = library ? (Function)dlsym(library, "C_GetFunctionList") : NULL;
        if (get_list == NULL || directory == NULL || !open_records(directory) || get_list(&real) != CKR_OK)
            return CKR_GENERAL_ERROR;
        snprintf(plan, sizeof plan, "%s/plan", directory);
        ours.functions[INDEX_C_GetFunctionList] = (Function)C_GetFunctionList;
    }
    *list = &ours;
    return CKR_OK;
}
