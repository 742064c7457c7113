/*
 * The official C client on an ensemble whose servers are killed, removed and added: sessions that move.
 * Prints what harness/suite.ts reads: PASS and FAIL lines, last of all DONE.
 */
#include "frame.h"

#define SERVERS 3
#define WRITES 2000

static char each[SERVERS][64];

static zhandle_t *client_at(int index) { return client_of(each[index]); }

static int64_t id_of(zhandle_t *zh) { return zoo_client_id(zh)->client_id; }

static int kill_home(zhandle_t *zh) {
  char order[64];
  snprintf(order, sizeof order, "kill-home %" PRIx64, id_of(zh));
  return tell(order);
}

/* Of the last request that `told` was called for. */
static int answer_code;

static void told(int code, const char *value, const void *data) {
  (void)value;
  events_t *done = (events_t *)data;
  pthread_mutex_lock(&done->lock);
  answer_code = code;
  done->count++;
  pthread_mutex_unlock(&done->lock);
}

/* Whatever was acknowledged before is seen by reads that follow. */
static int synced(zhandle_t *zh) {
  static events_t done;
  events_init(&done);
  return zoo_async(zh, "/", told, &done) == ZOK && wait_for(&done, &done.count, 1) && answer_code == ZOK;
}

/* ------------------------------------------------------------------ one service */

static void each_server_serves_the_same_tree(void) {
  struct Stat stat[SERVERS];
  char path[64];
  OK(make(client(), "/same", "", ZOO_PERSISTENT));
  for (int i = 0; i < SERVERS; i++) {
    zhandle_t *zh = client_at(i);
    REQUIRE(zh);
    OK(zoo_create(zh, "/same/n-", "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "/same/n-%010d", i);
    REQUIRE(strcmp(path, wanted) == 0);
  }
  for (int i = 0; i < SERVERS; i++) {
    zhandle_t *zh = client_at(i);
    REQUIRE(zh && synced(zh));
    OK(zoo_exists(zh, "/same", 0, &stat[i]));
    REQUIRE(stat[i].numChildren == SERVERS && memcmp(&stat[i], &stat[0], sizeof stat[0]) == 0);
  }
}

/* ------------------------------------------------------------------ sessions that move */

static void session_moves_between_two_handles(void) {
  zhandle_t *first = client_at(0), *other = client_at(2);
  struct Stat stat;
  int writes = 0, unclear = 0;
  REQUIRE(first && other);
  clientid_t id = *zoo_client_id(first);
  OK(make(first, "/move", "", ZOO_EPHEMERAL));
  zhandle_t *second = start_client(each[1], 16 * tick_ms, NULL, &id);
  REQUIRE(second && wait_connected(second));
  REQUIRE(id_of(second) == id.client_id);
  /* Each takes the session from the other; a write of the one that lost it must not happen unnoticed. */
  for (int turn = 0; turn < 6; turn++) {
    zhandle_t *zh = turn % 2 == 0 ? second : first;
    int code;
    for (int left = 400; (code = put(zh, "/move", "x")) != ZOK && left > 0; left--) {
      if (code != ZCONNECTIONLOSS && code != ZSESSIONMOVED) break;
      unclear += code == ZCONNECTIONLOSS;
      usleep(20000);
    }
    OK(code);
    writes++;
  }
  REQUIRE(synced(other));
  OK(zoo_exists(other, "/move", 0, &stat));
  REQUIRE(stat.ephemeralOwner == id.client_id);
  REQUIRE(stat.version >= writes && stat.version <= writes + unclear);
}

static void session_and_watches_move_when_the_server_is_killed(void) {
  static events_t session, data, kids, born;
  events_init(&session), events_init(&data), events_init(&kids), events_init(&born);
  zhandle_t *zh = start_client(server, 16 * tick_ms, &session, NULL), *other = client();
  char buffer[16];
  int length = sizeof buffer, code;
  struct Stat stat;
  struct String_vector names;
  REQUIRE(zh && other && wait_connected(zh));
  int64_t id = id_of(zh);
  OK(make(other, "/watched", "0", ZOO_PERSISTENT));
  OK(make(other, "/watched/kids", "0", ZOO_PERSISTENT));
  REQUIRE(synced(zh));
  OK(make(zh, "/watched/e", "", ZOO_EPHEMERAL));
  OK(zoo_wget(zh, "/watched", seen, &data, buffer, &length, NULL));
  OK(zoo_wget_children(zh, "/watched/kids", seen, &kids, &names));
  deallocate_String_vector(&names);
  CODE(zoo_wexists(zh, "/watched/born", seen, &born, &stat), ZNONODE);
  REQUIRE(kill_home(zh));
  RETRY(code, put(other, "/watched", "1"));
  OK(code);
  RETRY(code, make(other, "/watched/kids/a", "", ZOO_PERSISTENT));
  REQUIRE(code == ZOK || code == ZNODEEXISTS);
  RETRY(code, make(other, "/watched/born", "", ZOO_PERSISTENT));
  REQUIRE(code == ZOK || code == ZNODEEXISTS);
  REQUIRE(wait_for(&data, &data.count, 1) && is_event(&data, 0, ZOO_CHANGED_EVENT, "/watched"));
  REQUIRE(wait_for(&kids, &kids.count, 1) && is_event(&kids, 0, ZOO_CHILD_EVENT, "/watched/kids"));
  REQUIRE(wait_for(&born, &born.count, 1) && is_event(&born, 0, ZOO_CREATED_EVENT, "/watched/born"));
  RETRY(code, zoo_exists(other, "/watched/e", 0, &stat));
  OK(code);
  REQUIRE(stat.ephemeralOwner == id && id_of(zh) == id);
  REQUIRE(!read_locked(&session, &session.expired));
}

/* Answers to writes that were sent without waiting. */
static struct {
  pthread_mutex_t lock;
  int answered, done, lost, odd, last_version, backwards;
} pipeline = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void was_put(int code, const struct Stat *stat, const void *data) {
  (void)data;
  pthread_mutex_lock(&pipeline.lock);
  pipeline.answered++;
  if (code == ZOK) {
    pipeline.done++;
    pipeline.backwards += stat->version <= pipeline.last_version;
    pipeline.last_version = stat->version;
  } else if (code == ZCONNECTIONLOSS) {
    pipeline.lost++;
  } else {
    pipeline.odd++;
  }
  pthread_mutex_unlock(&pipeline.lock);
}

static int in_pipeline(const int *value) {
  pthread_mutex_lock(&pipeline.lock);
  int result = *value;
  pthread_mutex_unlock(&pipeline.lock);
  return result;
}

static void pipelined_writes_through_the_kill_of_the_leader(void) {
  zhandle_t *zh = client();
  struct Stat stat;
  int code, sent = 0;
  REQUIRE(zh);
  OK(make(zh, "/pipe", "", ZOO_PERSISTENT));
  for (; sent < WRITES; sent++) {
    if (sent == WRITES / 2) REQUIRE(tell("kill-leader"));
    /* What is sent without a connection is answered at once. */
    REQUIRE(wait_connected(zh));
    OK(zoo_aset(zh, "/pipe", "x", 1, -1, was_put, NULL));
    for (int left = 2000; sent - in_pipeline(&pipeline.answered) > 200; left--) {
      REQUIRE(left > 0);
      usleep(10000);
    }
  }
  for (int left = 2000; in_pipeline(&pipeline.answered) < sent; left--) {
    REQUIRE(left > 0);
    usleep(10000);
  }
  REQUIRE(pipeline.odd == 0 && pipeline.backwards == 0);
  RETRY(code, zoo_exists(zh, "/pipe", 0, &stat));
  OK(code);
  REQUIRE(stat.version >= pipeline.done && stat.version <= pipeline.done + pipeline.lost);
  REQUIRE(pipeline.done > WRITES / 2);
}

static void session_survives_the_loss_of_the_quorum(void) {
  static events_t session;
  events_init(&session);
  zhandle_t *zh = start_client(server, 4 * tick_ms, &session, NULL);
  struct Stat stat;
  int code;
  REQUIRE(zh && wait_connected(zh));
  int64_t id = id_of(zh);
  OK(make(zh, "/quorum", "", ZOO_EPHEMERAL));
  REQUIRE(tell("leave 1"));
  REQUIRE(wait_for(&session, &session.disconnected, 1));
  REQUIRE(tell("kill-all") && tell("start"));
  RETRY(code, zoo_exists(zh, "/quorum", 0, &stat));
  OK(code);
  REQUIRE(stat.ephemeralOwner == id && !read_locked(&session, &session.expired));
}

/* ------------------------------------------------------------------ members */

static void was_authenticated(int code, const void *data) { told(code, NULL, data); }

static void members_are_changed_by_the_super_user(void) {
  static events_t done, changed;
  static char before[4096], after[4096], line[256];
  int length = sizeof before - 1, code;
  struct Stat stat;
  events_init(&done), events_init(&changed);
  REQUIRE(tell("unseat 3"));
  zhandle_t *zh = client();
  REQUIRE(zh);
  OK(zoo_wgetconfig(zh, seen, &changed, before, &length, &stat));
  before[length] = 0;
  const char *found = strstr(before, "server.3=");
  REQUIRE(found != NULL && strstr(before, "version=") != NULL);
  snprintf(line, sizeof line, "%.*s", (int)strcspn(found, "\n"), found);
  length = sizeof after - 1;
  CODE(zoo_reconfig(zh, NULL, "3", NULL, -1, after, &length, &stat), ZNOAUTH);
  OK(zoo_add_auth(zh, "digest", "super:interop", 13, was_authenticated, &done));
  REQUIRE(wait_for(&done, &done.count, 1) && answer_code == ZOK);
  length = sizeof after - 1;
  OK(zoo_reconfig(zh, NULL, "3", NULL, -1, after, &length, &stat));
  after[length] = 0;
  REQUIRE(strstr(after, "server.3=") == NULL && strstr(after, "server.2=") != NULL);
  REQUIRE(wait_for(&changed, &changed.count, 1) && is_event(&changed, 0, ZOO_CHANGED_EVENT, "/zookeeper/config"));
  for (int left = 500;; left--) {
    length = sizeof after - 1;
    code = zoo_reconfig(zh, line, NULL, NULL, -1, after, &length, &stat);
    if (code != ZNEWCONFIGNOQUORUM && code != ZRECONFIGINPROGRESS && code != ZCONNECTIONLOSS) break;
    REQUIRE(left > 0);
    usleep(50000);
  }
  OK(code);
  after[length] = 0;
  REQUIRE(strstr(after, line) != NULL);
}

int main(void) {
  server = getenv("ZK_HOST");
  tick_ms = atoi(getenv("TICK_MS"));
  const char *at = server;
  for (int i = 0; i < SERVERS; i++, at += strcspn(at, ",") + 1)
    snprintf(each[i], sizeof each[i], "%.*s", (int)strcspn(at, ","), at);
  zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
  check("each-server-serves-the-same-tree", each_server_serves_the_same_tree);
  check("session-moves-between-two-handles", session_moves_between_two_handles);
  check("session-and-watches-move-when-the-server-is-killed", session_and_watches_move_when_the_server_is_killed);
  check("pipelined-writes-through-the-kill-of-the-leader", pipelined_writes_through_the_kill_of_the_leader);
  check("session-survives-the-loss-of-the-quorum", session_survives_the_loss_of_the_quorum);
  check("members-are-changed-by-the-super-user", members_are_changed_by_the_super_user);
  puts("DONE");
  return 0;
}
