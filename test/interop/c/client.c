/*
 * The official C client (multi-threaded library), driven through its synchronous and asynchronous calls.
 * Prints what harness/suite.ts reads: PASS and FAIL lines, last of all DONE.
 */
#include "frame.h"

static const char *proxy_host;

/* ------------------------------------------------------------------ operations */

static void create_get_set_delete(void) {
  zhandle_t *zh = client();
  struct Stat stat, again;
  char buffer[64], path[64];
  int length = sizeof buffer;
  REQUIRE(zh);
  OK(zoo_create2(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path, &stat));
  REQUIRE(strcmp(path, "/c") == 0);
  OK(zoo_get(zh, "/c", 0, buffer, &length, &again));
  REQUIRE(length == 3 && memcmp(buffer, "one", 3) == 0);
  REQUIRE(memcmp(&stat, &again, sizeof stat) == 0 || stat.czxid == again.czxid);
  REQUIRE(stat.version == 0 && stat.dataLength == 3 && stat.czxid == stat.mzxid && stat.ephemeralOwner == 0);
  OK(zoo_set2(zh, "/c", "three", 5, 0, &again));
  REQUIRE(again.version == 1 && again.mzxid > stat.mzxid && again.czxid == stat.czxid);
  CODE(zoo_set(zh, "/c", "x", 1, 0), ZBADVERSION);
  CODE(make(zh, "/c", "", ZOO_PERSISTENT), ZNODEEXISTS);
  CODE(make(zh, "/c/x/y", "", ZOO_PERSISTENT), ZNONODE);
  OK(make(zh, "/c/kid", "", ZOO_PERSISTENT));
  CODE(zoo_delete(zh, "/c", -1), ZNOTEMPTY);
  CODE(zoo_delete(zh, "/c/kid", 3), ZBADVERSION);
  OK(zoo_delete(zh, "/c/kid", 0));
  OK(zoo_delete(zh, "/c", -1));
  CODE(zoo_exists(zh, "/c", 0, &stat), ZNONODE);
  CODE(zoo_get(zh, "/c", 0, buffer, &length, NULL), ZNONODE);
  CODE(zoo_delete(zh, "/zookeeper", -1), ZBADARGUMENTS);
}

static void create_modes(void) {
  zhandle_t *zh = client();
  struct Stat stat;
  char path[64];
  int length = sizeof path;
  REQUIRE(zh);
  OK(make(zh, "/modes", "", ZOO_PERSISTENT));
  OK(zoo_create(zh, "/modes/n-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path));
  REQUIRE(strcmp(path, "/modes/n-0000000000") == 0);
  OK(make(zh, "/modes/e", "", ZOO_EPHEMERAL));
  OK(zoo_exists(zh, "/modes/e", 0, &stat));
  REQUIRE(stat.ephemeralOwner == zoo_client_id(zh)->client_id);
  CODE(make(zh, "/modes/e/x", "", ZOO_PERSISTENT), ZNOCHILDRENFOREPHEMERALS);
  OK(zoo_create(zh, "/modes/es-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path));
  REQUIRE(strcmp(path, "/modes/es-0000000002") == 0);
  OK(zoo_create_ttl(zh, "/modes/t", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 60000, path, sizeof path));
  OK(zoo_create2_ttl(zh, "/modes/ts-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 60000, path,
                     sizeof path, &stat));
  REQUIRE(strcmp(path, "/modes/ts-0000000004") == 0 && stat.ephemeralOwner == 0);
  OK(make(zh, "/modes/c", "", ZOO_CONTAINER));
  OK(zoo_create(zh, "/modes/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0));
  OK(zoo_get(zh, "/modes/null", 0, path, &length, &stat));
  REQUIRE(length == -1 && stat.dataLength == 0);
}

static void children(void) {
  zhandle_t *zh = client();
  struct String_vector names;
  struct Stat stat;
  char path[64];
  REQUIRE(zh);
  OK(make(zh, "/kids", "", ZOO_PERSISTENT));
  for (int i = 0; i < 100; i++) {
    snprintf(path, sizeof path, "/kids/%03d", i);
    OK(make(zh, path, "", ZOO_PERSISTENT));
  }
  OK(zoo_get_children2(zh, "/kids", 0, &names, &stat));
  int count = names.count;
  deallocate_String_vector(&names);
  REQUIRE(count == 100 && stat.numChildren == 100 && stat.cversion == 100);
  OK(zoo_get_children(zh, "/kids/000", 0, &names));
  count = names.count;
  deallocate_String_vector(&names);
  REQUIRE(count == 0);
  CODE(zoo_get_children(zh, "/kids/none", 0, &names), ZNONODE);
}

static void big_data(void) {
  zhandle_t *zh = client();
  enum { SIZE = 1000000 };
  char *out = malloc(SIZE), *in = malloc(SIZE);
  int length = SIZE, created, got;
  REQUIRE(zh && out && in);
  memset(out, 'b', SIZE);
  created = zoo_create(zh, "/big", out, SIZE, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0);
  got = zoo_get(zh, "/big", 0, in, &length, NULL);
  int same = length == SIZE && memcmp(in, out, SIZE) == 0;
  free(in);
  free(out);
  OK(created);
  OK(got);
  REQUIRE(same);
}

/* ------------------------------------------------------------------ multi */

static void multi_succeeds_as_one(void) {
  zhandle_t *zh = client();
  zoo_op_t ops[5];
  zoo_op_result_t results[5];
  char path[64];
  struct Stat set_stat, a, e;
  REQUIRE(zh);
  OK(make(zh, "/multi", "", ZOO_PERSISTENT));
  zoo_create_op_init(&ops[0], "/multi/a", "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0);
  zoo_create_op_init(&ops[1], "/multi/e-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path);
  zoo_set_op_init(&ops[2], "/multi/a", "2", 1, 0, &set_stat);
  zoo_check_op_init(&ops[3], "/multi/a", 1);
  zoo_delete_op_init(&ops[4], "/multi", 77);
  CODE(zoo_multi(zh, 5, ops, results), ZBADVERSION);
  zoo_delete_op_init(&ops[4], "/multi/a", 1);
  OK(zoo_multi(zh, 4, ops, results));
  for (int i = 0; i < 4; i++) OK(results[i].err);
  REQUIRE(strcmp(path, "/multi/e-0000000001") == 0 && set_stat.version == 1);
  OK(zoo_exists(zh, "/multi/a", 0, &a));
  OK(zoo_exists(zh, path, 0, &e));
  REQUIRE(a.czxid == e.czxid && a.czxid == a.mzxid && holds(zh, "/multi/a", "2"));
}

static void multi_fails_as_one(void) {
  zhandle_t *zh = client();
  zoo_op_t ops[3];
  zoo_op_result_t results[3];
  struct Stat stat;
  REQUIRE(zh);
  OK(make(zh, "/multif", "", ZOO_PERSISTENT));
  zoo_create_op_init(&ops[0], "/multif/a", "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0);
  zoo_delete_op_init(&ops[1], "/multif/none", -1);
  zoo_set_op_init(&ops[2], "/multif", "x", 1, -1, &stat);
  CODE(zoo_multi(zh, 3, ops, results), ZNONODE);
  OK(results[0].err);
  CODE(results[1].err, ZNONODE);
  CODE(results[2].err, ZRUNTIMEINCONSISTENCY);
  CODE(zoo_exists(zh, "/multif/a", 0, &stat), ZNONODE);
}

/* ------------------------------------------------------------------ ACLs */

typedef struct {
  events_t guard;
  int done, code;
} outcome_t;

static void finished(int code, const void *data) {
  outcome_t *outcome = (outcome_t *)data;
  pthread_mutex_lock(&outcome->guard.lock);
  outcome->code = code;
  outcome->done = 1;
  pthread_mutex_unlock(&outcome->guard.lock);
}

static int authenticate(zhandle_t *zh, const char *user) {
  outcome_t outcome = {.done = 0};
  events_init(&outcome.guard);
  int code = zoo_add_auth(zh, "digest", user, (int)strlen(user), finished, &outcome);
  if (code != ZOK) return code;
  return wait_for(&outcome.guard, &outcome.done, 1) ? outcome.code : ZOPERATIONTIMEOUT;
}

static void acls_and_auth(void) {
  zhandle_t *owner = client(), *other = client();
  struct ACL_vector acl;
  struct Stat stat;
  REQUIRE(owner && other);
  OK(authenticate(owner, "cee:pw"));
  OK(zoo_create(owner, "/mine", "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0));
  CODE(put(other, "/mine", "y"), ZNOAUTH);
  CODE(zoo_create(other, "/nobody", "", 0, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0), ZINVALIDACL);
  OK(zoo_get_acl(owner, "/mine", &acl, &stat));
  int right = acl.count == 1 && acl.data[0].perms == ZOO_PERM_ALL && strcmp(acl.data[0].id.scheme, "digest") == 0 &&
              strncmp(acl.data[0].id.id, "cee:", 4) == 0;
  deallocate_ACL_vector(&acl);
  REQUIRE(right && stat.aversion == 0);
  OK(zoo_set_acl(owner, "/mine", 0, &ZOO_READ_ACL_UNSAFE));
  CODE(zoo_set_acl(owner, "/mine", 0, &ZOO_OPEN_ACL_UNSAFE), ZNOAUTH);
  REQUIRE(holds(other, "/mine", "x"));
  OK(authenticate(other, "cee:pw"));
  CODE(put(other, "/mine", "y"), ZNOAUTH);
}

static void auth_is_repeated_after_a_cut(void) {
  zhandle_t *zh = client_of(proxy_host);
  int code;
  REQUIRE(zh);
  OK(authenticate(zh, "re:con"));
  OK(zoo_create(zh, "/re-auth", "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0));
  REQUIRE(tell("cut"));
  RETRY(code, put(zh, "/re-auth", "y"));
  OK(code);
}

/* ------------------------------------------------------------------ watches */

static void one_shot_watches(void) {
  zhandle_t *zh = client(), *other = client();
  static events_t exists, data, kids;
  struct String_vector names;
  struct Stat stat;
  char buffer[16];
  int length = sizeof buffer;
  events_init(&exists), events_init(&data), events_init(&kids);
  REQUIRE(zh && other);
  CODE(zoo_wexists(zh, "/w", seen, &exists, &stat), ZNONODE);
  OK(make(other, "/w", "0", ZOO_PERSISTENT));
  REQUIRE(wait_for(&exists, &exists.count, 1) && is_event(&exists, 0, ZOO_CREATED_EVENT, "/w"));
  OK(zoo_wget(zh, "/w", seen, &data, buffer, &length, NULL));
  OK(zoo_wget_children(zh, "/w", seen, &kids, &names));
  deallocate_String_vector(&names);
  OK(put(other, "/w", "1"));
  OK(put(other, "/w", "2"));
  OK(make(other, "/w/kid", "", ZOO_PERSISTENT));
  REQUIRE(wait_for(&data, &data.count, 1) && is_event(&data, 0, ZOO_CHANGED_EVENT, "/w"));
  REQUIRE(wait_for(&kids, &kids.count, 1) && is_event(&kids, 0, ZOO_CHILD_EVENT, "/w"));
  OK(zoo_wexists(zh, "/w/kid", seen, &exists, &stat));
  OK(zoo_delete(other, "/w/kid", -1));
  REQUIRE(wait_for(&exists, &exists.count, 2) && is_event(&exists, 1, ZOO_DELETED_EVENT, "/w/kid"));
  REQUIRE(read_locked(&data, &data.count) == 1 && read_locked(&kids, &kids.count) == 1);
}

static void removing_watches(void) {
  zhandle_t *zh = client();
  static events_t data;
  char buffer[16];
  int length = sizeof buffer;
  events_init(&data);
  REQUIRE(zh);
  OK(make(zh, "/rm", "0", ZOO_PERSISTENT));
  OK(zoo_wget(zh, "/rm", seen, &data, buffer, &length, NULL));
  /* One watcher is removed by checkWatches at the server and then locally: the server keeps its watch. */
  OK(zoo_remove_watches(zh, "/rm", ZWATCHTYPE_DATA, seen, &data, 0));
  OK(zoo_remove_all_watches(zh, "/rm", ZWATCHTYPE_ANY, 0));
  CODE(zoo_remove_all_watches(zh, "/rm", ZWATCHTYPE_ANY, 0), ZNOWATCHER);
  OK(put(zh, "/rm", "1"));
  OK(zoo_exists(zh, "/rm", 0, NULL));
  for (int i = 0; i < read_locked(&data, &data.count); i++) REQUIRE(data.types[i] != ZOO_CHANGED_EVENT);
}

static void watches_are_set_again_after_a_lost_connection(void) {
  static events_t session, kept, missed, created, kids;
  zhandle_t *other = client();
  events_init(&session), events_init(&kept), events_init(&missed), events_init(&created), events_init(&kids);
  zhandle_t *zh = start_client(proxy_host, 16 * tick_ms, &session, NULL);
  struct String_vector names;
  char buffer[16];
  int length = sizeof buffer;
  REQUIRE(zh && other && wait_connected(zh));
  OK(make(zh, "/again", "0", ZOO_PERSISTENT));
  OK(make(zh, "/again/kid", "0", ZOO_PERSISTENT));
  OK(zoo_wget(zh, "/again", seen, &kept, buffer, &length, NULL));
  OK(zoo_wget(zh, "/again/kid", seen, &missed, buffer, &length, NULL));
  CODE(zoo_wexists(zh, "/again/later", seen, &created, NULL), ZNONODE);
  OK(zoo_wget_children(zh, "/again", seen, &kids, &names));
  deallocate_String_vector(&names);
  REQUIRE(tell("block"));
  REQUIRE(wait_for(&session, &session.disconnected, 1));
  OK(put(other, "/again/kid", "while away"));
  OK(make(other, "/again/later", "", ZOO_PERSISTENT));
  REQUIRE(tell("open"));
  REQUIRE(wait_for(&missed, &missed.count, 1) && is_event(&missed, 0, ZOO_CHANGED_EVENT, "/again/kid"));
  REQUIRE(wait_for(&created, &created.count, 1) && is_event(&created, 0, ZOO_CREATED_EVENT, "/again/later"));
  REQUIRE(wait_for(&kids, &kids.count, 1) && is_event(&kids, 0, ZOO_CHILD_EVENT, "/again"));
  REQUIRE(read_locked(&kept, &kept.count) == 0);
  OK(put(other, "/again", "now"));
  REQUIRE(wait_for(&kept, &kept.count, 1) && is_event(&kept, 0, ZOO_CHANGED_EVENT, "/again"));
}

/* ------------------------------------------------------------------ asynchronous calls */

enum { PIPELINED = 1000 };

typedef struct {
  events_t guard;
  int answered, wrong;
} pipeline_t;

static pipeline_t pipeline;

static void next_answer(long number, int right) {
  pthread_mutex_lock(&pipeline.guard.lock);
  if (pipeline.answered != number || !right) pipeline.wrong++;
  pipeline.answered++;
  pthread_mutex_unlock(&pipeline.guard.lock);
}

static void was_set(int code, const struct Stat *stat, const void *data) {
  long number = (long)data;
  next_answer(number, code == ZOK && stat->version == number / 2 + 1);
}

static void was_read(int code, const char *value, int length, const struct Stat *stat, const void *data) {
  long number = (long)data;
  char wanted[16];
  snprintf(wanted, sizeof wanted, "%ld", number / 2);
  next_answer(number, code == ZOK && stat->version == number / 2 + 1 && length == (int)strlen(wanted) &&
                          memcmp(value, wanted, length) == 0);
}

static void pipelined_answers_keep_the_order(void) {
  zhandle_t *zh = client();
  char value[16];
  REQUIRE(zh);
  OK(make(zh, "/pipe", "", ZOO_PERSISTENT));
  pipeline = (pipeline_t){.answered = 0};
  events_init(&pipeline.guard);
  for (long i = 0; i < PIPELINED; i++) {
    snprintf(value, sizeof value, "%ld", i);
    OK(zoo_aset(zh, "/pipe", value, (int)strlen(value), (int)i, was_set, (void *)(2 * i)));
    OK(zoo_aget(zh, "/pipe", 0, was_read, (void *)(2 * i + 1)));
  }
  REQUIRE(wait_for(&pipeline.guard, &pipeline.answered, 2 * PIPELINED));
  REQUIRE(pipeline.wrong == 0);
}

static void synced(int code, const char *path, const void *data) {
  finished(strcmp(path, "/sync") == 0 ? code : ZAPIERROR, data);
}

static void sync_then_read_sees_the_write_of_another_client(void) {
  zhandle_t *writer = client(), *reader = client();
  char value[16];
  REQUIRE(writer && reader);
  OK(make(writer, "/sync", "", ZOO_PERSISTENT));
  for (int i = 0; i < 20; i++) {
    static outcome_t outcome;
    outcome = (outcome_t){.done = 0};
    events_init(&outcome.guard);
    snprintf(value, sizeof value, "%d", i);
    OK(put(writer, "/sync", value));
    OK(zoo_async(reader, "/sync", synced, &outcome));
    REQUIRE(wait_for(&outcome.guard, &outcome.done, 1) && outcome.code == ZOK);
    REQUIRE(holds(reader, "/sync", value));
  }
}

/* ------------------------------------------------------------------ sessions */

static void session_survives_cuts(void) {
  zhandle_t *zh = client_of(proxy_host);
  struct Stat stat;
  int code;
  REQUIRE(zh);
  int64_t id = zoo_client_id(zh)->client_id;
  OK(make(zh, "/cuts", "", ZOO_EPHEMERAL));
  for (int i = 0; i < 3; i++) {
    REQUIRE(tell("cut"));
    RETRY(code, zoo_exists(zh, "/cuts", 0, &stat));
    OK(code);
    REQUIRE(stat.ephemeralOwner == id && zoo_client_id(zh)->client_id == id);
  }
}

static void attach_with_id_and_password(void) {
  zhandle_t *zh = client(), *other = client();
  struct Stat stat;
  int code;
  REQUIRE(zh && other);
  clientid_t id = *zoo_client_id(zh);
  OK(make(zh, "/attach", "", ZOO_EPHEMERAL));
  zhandle_t *heir = start_client(server, 16 * tick_ms, NULL, &id);
  REQUIRE(heir && wait_connected(heir));
  REQUIRE(zoo_client_id(heir)->client_id == id.client_id);
  RETRY(code, zoo_exists(heir, "/attach", 0, &stat));
  OK(code);
  REQUIRE(stat.ephemeralOwner == id.client_id);
  clientid_t forged = id;
  memset(forged.passwd, 0, sizeof forged.passwd);
  static events_t thief;
  events_init(&thief);
  REQUIRE(start_client(server, 16 * tick_ms, &thief, &forged));
  REQUIRE(wait_for(&thief, &thief.expired, 1));
  OK(zoo_exists(other, "/attach", 0, &stat));
}

static void expiry_deletes_ephemerals(void) {
  static events_t session, gone;
  events_init(&session), events_init(&gone);
  zhandle_t *other = client();
  zhandle_t *zh = start_client(proxy_host, 2 * tick_ms, &session, NULL);
  struct Stat stat;
  REQUIRE(zh && other && wait_connected(zh));
  REQUIRE(zoo_recv_timeout(zh) == 2 * tick_ms);
  OK(make(zh, "/expiry", "", ZOO_EPHEMERAL));
  OK(zoo_wexists(other, "/expiry", seen, &gone, &stat));
  REQUIRE(tell("block"));
  REQUIRE(wait_for(&gone, &gone.count, 1) && is_event(&gone, 0, ZOO_DELETED_EVENT, "/expiry"));
  REQUIRE(tell("open"));
  REQUIRE(wait_for(&session, &session.expired, 1));
  REQUIRE(is_unrecoverable(zh));
}

static void ephemerals_end_with_their_session(void) {
  zhandle_t *zh = client(), *other = client();
  REQUIRE(zh && other);
  OK(make(zh, "/closing", "", ZOO_EPHEMERAL));
  close_client(zh);
  CODE(zoo_exists(other, "/closing", 0, NULL), ZNONODE);
}

static void session_survives_a_crash_of_the_server(void) {
  static events_t data;
  zhandle_t *zh = client();
  struct Stat stat;
  char buffer[16];
  int length = sizeof buffer, code;
  events_init(&data);
  REQUIRE(zh);
  int64_t id = zoo_client_id(zh)->client_id;
  OK(make(zh, "/crash", "before", ZOO_EPHEMERAL));
  OK(zoo_wget(zh, "/crash", seen, &data, buffer, &length, NULL));
  REQUIRE(tell("restart"));
  RETRY(code, zoo_exists(zh, "/crash", 0, &stat));
  OK(code);
  REQUIRE(stat.ephemeralOwner == id && holds(zh, "/crash", "before"));
  OK(put(zh, "/crash", "after"));
  REQUIRE(wait_for(&data, &data.count, 1) && is_event(&data, 0, ZOO_CHANGED_EVENT, "/crash"));
}

static void chroot_is_added_and_taken_off(void) {
  char host[128], path[64];
  zhandle_t *plain = client();
  REQUIRE(plain);
  OK(make(plain, "/rooted", "", ZOO_PERSISTENT));
  snprintf(host, sizeof host, "%s/rooted", server);
  zhandle_t *zh = client_of(host);
  REQUIRE(zh);
  OK(zoo_create(zh, "/in-", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path));
  REQUIRE(strcmp(path, "/in-0000000000") == 0);
  REQUIRE(holds(plain, "/rooted/in-0000000000", "x"));
}

int main(void) {
  server = getenv("ZK_HOST");
  proxy_host = getenv("PROXY_HOST");
  tick_ms = atoi(getenv("TICK_MS"));
  zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
  check("create-get-set-delete", create_get_set_delete);
  check("create-modes", create_modes);
  check("children", children);
  check("big-data", big_data);
  check("multi-succeeds-as-one", multi_succeeds_as_one);
  check("multi-fails-as-one", multi_fails_as_one);
  check("acls-and-auth", acls_and_auth);
  check("auth-is-repeated-after-a-cut", auth_is_repeated_after_a_cut);
  check("one-shot-watches", one_shot_watches);
  check("removing-watches", removing_watches);
  check("watches-are-set-again-after-a-lost-connection", watches_are_set_again_after_a_lost_connection);
  check("pipelined-answers-keep-the-order", pipelined_answers_keep_the_order);
  check("sync-then-read-sees-the-write-of-another-client", sync_then_read_sees_the_write_of_another_client);
  check("session-survives-cuts", session_survives_cuts);
  check("attach-with-id-and-password", attach_with_id_and_password);
  check("expiry-deletes-ephemerals", expiry_deletes_ephemerals);
  check("ephemerals-end-with-their-session", ephemerals_end_with_their_session);
  check("chroot-is-added-and-taken-off", chroot_is_added_and_taken_off);
  check("session-survives-a-crash-of-the-server", session_survives_a_crash_of_the_server);
  puts("DONE");
  return 0;
}
