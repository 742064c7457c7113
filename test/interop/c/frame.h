/*
 * The small frame of the C programs: named checks with a bound, clients that are closed after each, what watches saw, words
 * to the run. Each program includes it once.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define EVENT_LIMIT_MS 20000
#define MAX_EVENTS 64
#define MAX_CLIENTS 16

/* ------------------------------------------------------------------ frame */

static char failure[512];

static inline int fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(failure, sizeof failure, format, args);
  va_end(args);
  return 0;
}

/* Ends the check with a reason unless the condition holds. */
#define REQUIRE(condition)                                              \
  do {                                                                  \
    if (!(condition)) {                                                 \
      fail("line %d: %s", __LINE__, #condition);                        \
      return;                                                           \
    }                                                                   \
  } while (0)

/* Ends the check unless the call gives this code. */
#define CODE(call, wanted)                                              \
  do {                                                                  \
    int code_ = (call);                                                 \
    if (code_ != (wanted)) {                                            \
      fail("line %d: %s gave %d, wanted %d", __LINE__, #call, code_, (wanted)); \
      return;                                                           \
    }                                                                   \
  } while (0)

#define OK(call) CODE(call, ZOK)

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* What a watch function was called with, in order. */
typedef struct {
  pthread_mutex_t lock;
  int count, expired, disconnected;
  int types[MAX_EVENTS];
  char paths[MAX_EVENTS][128];
} events_t;

static inline void seen(zhandle_t *zh, int type, int state, const char *path, void *context) {
  events_t *events = context;
  (void)zh;
  if (events == NULL) return;
  pthread_mutex_lock(&events->lock);
  if (type == ZOO_SESSION_EVENT) {
    if (state == ZOO_EXPIRED_SESSION_STATE) events->expired = 1;
    if (state == ZOO_CONNECTING_STATE) events->disconnected++;
  } else if (events->count < MAX_EVENTS) {
    events->types[events->count] = type;
    snprintf(events->paths[events->count++], sizeof events->paths[0], "%s", path);
  }
  pthread_mutex_unlock(&events->lock);
}

static inline void events_init(events_t *events) {
  memset(events, 0, sizeof *events);
  pthread_mutex_init(&events->lock, NULL);
}

static inline int read_locked(events_t *events, const int *value) {
  pthread_mutex_lock(&events->lock);
  int result = *value;
  pthread_mutex_unlock(&events->lock);
  return result;
}

/* Waits until the value, which `events` guards, is at least this. */
static inline int wait_for(events_t *events, const int *value, int least) {
  double end = now() + EVENT_LIMIT_MS / 1000.0;
  while (read_locked(events, value) < least) {
    if (now() > end) return 0;
    usleep(10000);
  }
  return 1;
}

static inline int is_event(events_t *events, int index, int type, const char *path) {
  return events->types[index] == type && strcmp(events->paths[index], path) == 0;
}

static zhandle_t *clients[MAX_CLIENTS];
static int client_count;

static inline int wait_connected(zhandle_t *zh) {
  double end = now() + EVENT_LIMIT_MS / 1000.0;
  while (zoo_state(zh) != ZOO_CONNECTED_STATE) {
    if (now() > end || is_unrecoverable(zh)) return 0;
    usleep(5000);
  }
  return 1;
}

/* A handle that is closed after the check, on its way to be connected. */
static inline zhandle_t *start_client(const char *host, int timeout_ms, events_t *session, const clientid_t *id) {
  zhandle_t *zh = zookeeper_init(host, seen, timeout_ms, id, session, 0);
  if (zh != NULL) clients[client_count++] = zh;
  return zh;
}

static int tick_ms;
static const char *server;

static inline zhandle_t *client_of(const char *host) {
  zhandle_t *zh = start_client(host, 16 * tick_ms, NULL, NULL);
  return zh != NULL && wait_connected(zh) ? zh : NULL;
}

static inline zhandle_t *client(void) { return client_of(server); }

static inline void close_client(zhandle_t *zh) {
  for (int i = 0; i < client_count; i++)
    if (clients[i] == zh) clients[i] = NULL;
  zookeeper_close(zh);
}

/* Tells the proxy `cut`, `block` or `open`, or the run what is to happen to its servers. */
static inline int tell(const char *word) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PROXY_CONTROL")))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  char answer[64] = "";
  int ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && dprintf(fd, "%s\n", word) > 0 &&
           read(fd, answer, sizeof answer - 1) > 0 && strcmp(answer, "ok\n") == 0;
  close(fd);
  return ok;
}

static inline void check(const char *name, void (*body)(void)) {
  double started = now();
  failure[0] = 0;
  const char *limit_s = getenv("CHECK_LIMIT_S");
  alarm(limit_s != NULL ? atoi(limit_s) : 60);
  body();
  tell("open");
  for (int i = 0; i < client_count; i++)
    if (clients[i] != NULL) zookeeper_close(clients[i]);
  client_count = 0;
  alarm(0);
  if (failure[0]) printf("FAIL %s: %s\n", name, failure);
  else printf("PASS %s (%.1f s)\n", name, now() - started);
  fflush(stdout);
}

/* ------------------------------------------------------------------ shorthands */

static inline int make(zhandle_t *zh, const char *path, const char *value, int mode) {
  return zoo_create(zh, path, value, (int)strlen(value), &ZOO_OPEN_ACL_UNSAFE, mode, NULL, 0);
}

static inline int put(zhandle_t *zh, const char *path, const char *value) {
  return zoo_set(zh, path, value, (int)strlen(value), -1);
}

static inline int holds(zhandle_t *zh, const char *path, const char *value) {
  char buffer[256];
  int length = sizeof buffer;
  return zoo_get(zh, path, 0, buffer, &length, NULL) == ZOK && length == (int)strlen(value) &&
         memcmp(buffer, value, length) == 0;
}

/* Repeats a call while the session is between two connections. */
#define RETRY(result, call)                                                          \
  do {                                                                               \
    for (int left_ = 400; (result = (call)) == ZCONNECTIONLOSS && left_ > 0; left_--) \
      usleep(50000);                                                                 \
  } while (0)
