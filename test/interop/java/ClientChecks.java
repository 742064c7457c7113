import static org.apache.zookeeper.Watcher.Event.EventType.ChildWatchRemoved;
import static org.apache.zookeeper.Watcher.Event.EventType.DataWatchRemoved;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeChildrenChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeCreated;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDataChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDeleted;
import static org.apache.zookeeper.Watcher.Event.EventType.PersistentWatchRemoved;
import static org.apache.zookeeper.ZooDefs.Ids.CREATOR_ALL_ACL;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** The original Java client, driven through its whole interface. */
final class ClientChecks {
    private static final int TIMEOUT_MS = 16 * Checks.TICK_MS;
    private static final CreateMode PERSISTENT = CreateMode.PERSISTENT;

    private ClientChecks() {}

    /** Keeps the events it is called with, as `type path`; states of the connection apart. */
    static final class Events implements Watcher {
        final List<String> seen = new CopyOnWriteArrayList<>();
        final List<KeeperState> states = new CopyOnWriteArrayList<>();
        final List<Long> zxids = new CopyOnWriteArrayList<>();

        @Override
        public void process(WatchedEvent event) {
            if (event.getType() == EventType.None) {
                states.add(event.getState());
            } else {
                seen.add(event.getType() + " " + event.getPath());
                zxids.add(event.getZxid());
            }
        }

        void await(String... wanted) throws Exception {
            Checks.eventually("events, seen " + seen, () -> seen.size() >= wanted.length);
            Checks.equal(seen, Arrays.asList(wanted));
        }

        void awaitState(KeeperState state) throws Exception {
            Checks.eventually("state " + state + ", seen " + states, () -> states.contains(state));
        }
    }

    static String event(EventType type, String path) {
        return type + " " + path;
    }

    static ZooKeeper connect(String server, int timeoutMs, Events events) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = Checks.closing(new ZooKeeper(server, timeoutMs, event -> {
            events.process(event);
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        }));
        Checks.isTrue(connected.await(20, TimeUnit.SECONDS), "connected within 20 s");
        return zk;
    }

    private static ZooKeeper client() throws Exception {
        return connect(Checks.SERVER, TIMEOUT_MS, new Events());
    }

    private static ZooKeeper proxied(Events events) throws Exception {
        return connect(Checks.PROXY, TIMEOUT_MS, events);
    }

    /** Another connection to the session of `zk`. */
    static ZooKeeper attach(String server, long id, byte[] password, Events events) throws Exception {
        return Checks.closing(new ZooKeeper(server, TIMEOUT_MS, events, id, password));
    }

    static String create(ZooKeeper zk, String path, CreateMode mode) throws Exception {
        return zk.create(path, Checks.bytes("data"), OPEN_ACL_UNSAFE, mode);
    }

    static String create(ZooKeeper zk, String path) throws Exception {
        return create(zk, path, PERSISTENT);
    }

    static void set(ZooKeeper zk, String path, String value) throws Exception {
        zk.setData(path, Checks.bytes(value), -1);
    }

    private static Op createOp(String path, CreateMode mode) {
        return Op.create(path, Checks.bytes("m"), OPEN_ACL_UNSAFE, mode);
    }

    /** What an operation makes of a session that is between two connections. */
    interface Attempt<T> {
        T run() throws Exception;
    }

    static <T> T retry(Attempt<T> attempt) throws Exception {
        for (int left = 200;; left--) {
            try {
                return attempt.run();
            } catch (KeeperException.ConnectionLossException e) {
                if (left == 0) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    // ---------------------------------------------------------------- operations

    private static Object createModes() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/modes");
        Stat stat = new Stat();
        Checks.equal(zk.create("/modes/p", null, OPEN_ACL_UNSAFE, PERSISTENT, stat), "/modes/p");
        Checks.equal(stat, zk.exists("/modes/p", false));
        Checks.equal(zk.getData("/modes/p", false, null) == null, true);
        Checks.equal(create(zk, "/modes/ps-", CreateMode.PERSISTENT_SEQUENTIAL), "/modes/ps-0000000001");
        Checks.equal(create(zk, "/modes/e", CreateMode.EPHEMERAL), "/modes/e");
        Checks.equal(zk.exists("/modes/e", false).getEphemeralOwner(), zk.getSessionId());
        Checks.equal(create(zk, "/modes/es-", CreateMode.EPHEMERAL_SEQUENTIAL), "/modes/es-0000000003");
        Checks.equal(create(zk, "/modes/c", CreateMode.CONTAINER), "/modes/c");
        Checks.equal(zk.create("/modes/c2", null, OPEN_ACL_UNSAFE, CreateMode.CONTAINER, stat), "/modes/c2");
        Checks.equal(stat.getEphemeralOwner(), 0L);
        CreateMode ttl = CreateMode.PERSISTENT_WITH_TTL;
        Checks.equal(zk.create("/modes/t", null, OPEN_ACL_UNSAFE, ttl, stat, 60_000), "/modes/t");
        Checks.equal(stat.getEphemeralOwner(), 0L);
        CreateMode ttlSequential = CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL;
        String path = zk.create("/modes/ts-", null, OPEN_ACL_UNSAFE, ttlSequential, stat, 60_000);
        Checks.equal(path, "/modes/ts-0000000007");
        return null;
    }

    private static Object containerGoesWithItsLastChild() throws Exception {
        ZooKeeper zk = client();
        Events events = new Events();
        create(zk, "/container", CreateMode.CONTAINER);
        create(zk, "/container/child");
        zk.exists("/container", events);
        zk.delete("/container/child", -1);
        events.await(event(NodeDeleted, "/container"));
        return null;
    }

    private static Object ttlNodeGoesWhenItsTimeIsOver() throws Exception {
        ZooKeeper zk = client();
        Events events = new Events();
        Stat stat = new Stat();
        long started = System.nanoTime();
        zk.create("/ttl", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 700);
        zk.create("/ttl-long", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 3_600_000);
        zk.exists("/ttl", events);
        events.await(event(NodeDeleted, "/ttl"));
        long tookMs = (System.nanoTime() - started) / 1_000_000;
        Checks.isTrue(tookMs >= 700, "gone after " + tookMs + " ms already");
        Checks.isTrue(zk.exists("/ttl-long", false) != null, "the other one is gone too");
        return "gone after " + tookMs + " ms";
    }

    private static Object errorsHaveTheirCodes() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/err");
        create(zk, "/err/e", CreateMode.EPHEMERAL);
        Checks.raises(KeeperException.NodeExistsException.class, () -> create(zk, "/err"));
        Checks.raises(KeeperException.NoNodeException.class, () -> create(zk, "/err/x/y"));
        Checks.raises(KeeperException.NoChildrenForEphemeralsException.class, () -> create(zk, "/err/e/x"));
        Checks.raises(KeeperException.BadVersionException.class, () -> zk.setData("/err", null, 5));
        Checks.raises(KeeperException.NotEmptyException.class, () -> {
            zk.delete("/err", -1);
            return null;
        });
        Checks.raises(KeeperException.BadArgumentsException.class, () -> {
            zk.delete("/zookeeper/config", -1);
            return null;
        });
        Checks.raises(KeeperException.NoNodeException.class, () -> zk.getData("/err/none", false, null));
        Checks.raises(KeeperException.NoNodeException.class, () -> zk.getChildren("/err/none", false));
        Checks.raises(KeeperException.NoNodeException.class, () -> zk.getAllChildrenNumber("/err/none"));
        Checks.raises(KeeperException.NoNodeException.class, () -> zk.getACL("/err/none", new Stat()));
        List<ACL> odd = Collections.singletonList(new ACL(Perms.ALL, new Id("nosuch", "x")));
        Checks.raises(KeeperException.InvalidACLException.class, () -> zk.create("/err/a", null, odd, PERSISTENT));
        return null;
    }

    private static Object wholeTreeQuestions() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/tree");
        for (int i = 0; i < 3; i++) {
            create(zk, "/tree/" + i);
            create(zk, "/tree/" + i + "/e", CreateMode.EPHEMERAL);
        }
        create(zk, "/treeless", CreateMode.EPHEMERAL);
        Checks.equal(zk.getAllChildrenNumber("/tree"), 6);
        Set<String> mine = Set.of("/tree/0/e", "/tree/1/e", "/tree/2/e", "/treeless");
        Checks.equal(Set.copyOf(zk.getEphemerals()), mine);
        Checks.equal(Set.copyOf(zk.getEphemerals("/")), mine);
        Checks.equal(new TreeSet<>(zk.getEphemerals("/tree/1")).toString(), "[/tree/1/e]");
        Checks.equal(zk.getEphemerals("/none"), List.of());
        Checks.equal(client().getEphemerals(), List.of());
        Checks.equal(new String(zk.getConfig(false, new Stat())), "");
        zk.sync("/tree");
        zk.sync("/not/there");
        return null;
    }

    private static Object manyChildren() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/many");
        int count = 3000;
        CountDownLatch left = new CountDownLatch(count);
        List<Integer> bad = new CopyOnWriteArrayList<>();
        for (int i = 0; i < count; i++) {
            String path = String.format("/many/a-rather-long-name-of-a-child-%05d", i);
            zk.create(path, null, OPEN_ACL_UNSAFE, PERSISTENT, (code, asked, context, name) -> {
                if (code != 0 || !asked.equals(name)) {
                    bad.add(code);
                }
                left.countDown();
            }, null);
        }
        Checks.isTrue(left.await(30, TimeUnit.SECONDS), "all created");
        Checks.equal(bad, List.of());
        Stat stat = new Stat();
        List<String> names = zk.getChildren("/many", false, stat);
        Checks.equal(Set.copyOf(names).size(), count);
        Checks.equal(stat.getNumChildren(), count);
        return null;
    }

    private static Object answersComeInTheOrderOfTheRequests() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/order");
        int count = 500;
        List<Integer> answers = new CopyOnWriteArrayList<>();
        CountDownLatch left = new CountDownLatch(2 * count);
        for (int i = 0; i < count; i++) {
            int number = i;
            zk.setData("/order", Checks.bytes("" + i), i, (code, path, context, stat) -> {
                answers.add(code == 0 && stat.getVersion() == number + 1 ? 2 * number : -1);
                left.countDown();
            }, null);
            zk.getData("/order", false, (code, path, context, data, stat) -> {
                answers.add(Checks.text(data).equals("" + number) ? 2 * number + 1 : -2);
                left.countDown();
            }, null);
        }
        Checks.isTrue(left.await(30, TimeUnit.SECONDS), "all answered");
        for (int i = 0; i < answers.size(); i++) {
            Checks.equal(answers.get(i), i);
        }
        return null;
    }

    private static Object bigData() throws Exception {
        ZooKeeper zk = client();
        byte[] big = new byte[1_000_000];
        Arrays.fill(big, (byte) 7);
        zk.create("/big", big, OPEN_ACL_UNSAFE, PERSISTENT);
        Checks.isTrue(Arrays.equals(zk.getData("/big", false, null), big), "the same bytes come back");
        return null;
    }

    // ---------------------------------------------------------------- multi

    private static Object multiSucceedsAsOne() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/multi");
        List<OpResult> results = zk.multi(List.of(
            createOp("/multi/a", PERSISTENT),
            createOp("/multi/s-", CreateMode.PERSISTENT_SEQUENTIAL),
            createOp("/multi/e", CreateMode.EPHEMERAL),
            createOp("/multi/c", CreateMode.CONTAINER),
            Op.create("/multi/t", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, 60_000),
            Op.setData("/multi/a", Checks.bytes("2"), 0),
            Op.check("/multi/a", 1),
            Op.delete("/multi/a", 1)));
        List<String> kinds = results.stream().map(r -> r.getClass().getSimpleName()).collect(Collectors.toList());
        Checks.equal(kinds, List.of("CreateResult", "CreateResult", "CreateResult", "CreateResult", "CreateResult",
            "SetDataResult", "CheckResult", "DeleteResult"));
        Checks.equal(((OpResult.CreateResult) results.get(1)).getPath(), "/multi/s-0000000001");
        Checks.equal(((OpResult.SetDataResult) results.get(5)).getStat().getVersion(), 1);
        Checks.equal(zk.exists("/multi/e", false).getEphemeralOwner(), zk.getSessionId());
        Checks.equal(zk.exists("/multi/e", false).getCzxid(), zk.exists("/multi/c", false).getCzxid());
        Checks.isTrue(zk.exists("/multi/a", false) == null, "created and deleted in one");
        Checks.equal(zk.multi(List.of()), List.of());
        return null;
    }

    private static Object multiFailsAsOne() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/multif");
        Events events = new Events();
        zk.getChildren("/multif", events);
        KeeperException failure = Checks.raises(KeeperException.BadVersionException.class, () -> zk.multi(List.of(
            createOp("/multif/a", PERSISTENT),
            Op.check("/multif", 9),
            Op.delete("/multif/none", -1))));
        List<Integer> codes = new ArrayList<>();
        for (OpResult result : failure.getResults()) {
            codes.add(((OpResult.ErrorResult) result).getErr());
        }
        Checks.equal(codes, List.of(0, -103, -2));
        Checks.equal(zk.getChildren("/multif", false), List.of());
        Checks.equal(events.seen, List.of());
        return null;
    }

    private static Object transactionBuilder() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/txn");
        int results = zk.transaction()
            .create("/txn/a", null, OPEN_ACL_UNSAFE, PERSISTENT)
            .setData("/txn", Checks.bytes("x"), 0)
            .check("/txn", 1)
            .delete("/txn/a", 0)
            .commit()
            .size();
        Checks.equal(results, 4);
        return null;
    }

    private static Object multiReadAnswersEachForItself() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/mr");
        create(zk, "/mr/kid");
        List<OpResult> results = zk.multi(List.of(Op.getData("/mr"), Op.getChildren("/mr"), Op.getData("/mr/none"),
            Op.getChildren("/mr/kid")));
        Checks.equal(Checks.text(((OpResult.GetDataResult) results.get(0)).getData()), "data");
        Checks.equal(((OpResult.GetDataResult) results.get(0)).getStat(), zk.exists("/mr", false));
        Checks.equal(((OpResult.GetChildrenResult) results.get(1)).getChildren(), List.of("kid"));
        Checks.equal(((OpResult.ErrorResult) results.get(2)).getErr(), -101);
        Checks.equal(((OpResult.GetChildrenResult) results.get(3)).getChildren(), List.of());
        return null;
    }

    // ---------------------------------------------------------------- authentication

    private static Object whoAmIAndAuth() throws Exception {
        ZooKeeper zk = client();
        zk.addAuthInfo("digest", Checks.bytes("eve:pw"));
        zk.addAuthInfo("digest", Checks.bytes("adam:pw"));
        Set<String> who = zk.whoAmI().stream().map(i -> i.getAuthScheme() + ":" + i.getUser()).collect(Collectors.toSet());
        Checks.equal(who, Set.of("ip:127.0.0.1", "digest:eve", "digest:adam"));
        zk.create("/who", Checks.bytes("x"), CREATOR_ALL_ACL, PERSISTENT);
        Checks.equal(zk.getACL("/who", new Stat()).size(), 2);
        ZooKeeper other = client();
        Checks.raises(KeeperException.NoAuthException.class, () -> other.getData("/who", false, null));
        other.addAuthInfo("digest", Checks.bytes("adam:pw"));
        Checks.equal(Checks.text(other.getData("/who", false, null)), "x");
        return null;
    }

    private static Object unknownAuthSchemeFailsTheConnection() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(Checks.SERVER, TIMEOUT_MS, events);
        zk.addAuthInfo("nosuch", Checks.bytes("x"));
        events.awaitState(KeeperState.AuthFailed);
        return null;
    }

    private static Object saslIsAbsent() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(Checks.SERVER, TIMEOUT_MS, events);
        create(zk, "/no-sasl");
        List<ACL> sasl = Collections.singletonList(new ACL(Perms.ALL, new Id("sasl", "someone")));
        Checks.raises(KeeperException.InvalidACLException.class, () -> zk.setACL("/no-sasl", sasl, -1));
        Checks.equal(events.states, List.of(KeeperState.SyncConnected));
        return null;
    }

    private static Object reconfigIsDisabled() throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeperAdmin admin =
            Checks.closing(new ZooKeeperAdmin(Checks.SERVER, TIMEOUT_MS, event -> connected.countDown()));
        Checks.isTrue(connected.await(20, TimeUnit.SECONDS), "connected");
        Checks.raises(KeeperException.ReconfigDisabledException.class,
            () -> admin.reconfigure((String) null, "3", null, -1, new Stat()));
        return null;
    }

    // ---------------------------------------------------------------- watches

    private static Object oneShotWatches() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper other = client();
        Events data = new Events();
        Events children = new Events();
        Events missing = new Events();
        create(zk, "/once");
        zk.getData("/once", data, null);
        zk.getChildren("/once", children);
        zk.exists("/once/kid", missing);
        long changedAt = other.setData("/once", Checks.bytes("1"), -1).getMzxid();
        set(other, "/once", "2");
        create(other, "/once/kid");
        create(other, "/once/kid2");
        data.await(event(NodeDataChanged, "/once"));
        children.await(event(NodeChildrenChanged, "/once"));
        missing.await(event(NodeCreated, "/once/kid"));
        Checks.equal(data.zxids, List.of(changedAt));
        return null;
    }

    private static Object persistentWatch() throws Exception {
        ZooKeeper zk = client();
        Events events = new Events();
        zk.addWatch("/pw", events, AddWatchMode.PERSISTENT);
        create(zk, "/pw");
        set(zk, "/pw", "1");
        create(zk, "/pw/kid");
        set(zk, "/pw/kid", "unseen");
        zk.delete("/pw/kid", -1);
        zk.delete("/pw", -1);
        create(zk, "/pw");
        events.await(event(NodeCreated, "/pw"), event(NodeDataChanged, "/pw"), event(NodeChildrenChanged, "/pw"),
            event(NodeChildrenChanged, "/pw"), event(NodeDeleted, "/pw"), event(NodeCreated, "/pw"));
        return null;
    }

    private static Object persistentRecursiveWatch() throws Exception {
        ZooKeeper zk = client();
        Events events = new Events();
        create(zk, "/prw");
        create(zk, "/prwx");
        zk.addWatch("/prw", events, AddWatchMode.PERSISTENT_RECURSIVE);
        create(zk, "/prw/a");
        create(zk, "/prw/a/b");
        set(zk, "/prw/a/b", "1");
        set(zk, "/prwx", "unseen");
        zk.multi(List.of(createOp("/prw/m", PERSISTENT), Op.setData("/prw/a", null, -1), Op.delete("/prw/a/b", -1)));
        zk.delete("/prw/a", -1);
        events.await(event(NodeCreated, "/prw/a"), event(NodeCreated, "/prw/a/b"), event(NodeDataChanged, "/prw/a/b"),
            event(NodeCreated, "/prw/m"), event(NodeDataChanged, "/prw/a"), event(NodeDeleted, "/prw/a/b"),
            event(NodeDeleted, "/prw/a"));
        return null;
    }

    private static Object removingWatches() throws Exception {
        ZooKeeper zk = client();
        Events data = new Events();
        Events children = new Events();
        Events lasting = new Events();
        create(zk, "/rm");
        zk.getData("/rm", data, null);
        zk.getChildren("/rm", children);
        zk.addWatch("/rm", lasting, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.removeWatches("/rm", data, WatcherType.Data, false);
        data.await(event(DataWatchRemoved, "/rm"));
        zk.removeWatches("/rm", children, WatcherType.Children, false);
        children.await(event(ChildWatchRemoved, "/rm"));
        zk.removeWatches("/rm", lasting, WatcherType.PersistentRecursive, false);
        lasting.await(event(PersistentWatchRemoved, "/rm"));
        Checks.raises(KeeperException.NoWatcherException.class, () -> {
            zk.removeAllWatches("/rm", WatcherType.Any, false);
            return null;
        });
        zk.exists("/rm", data);
        zk.removeAllWatches("/rm", WatcherType.Any, false);
        set(zk, "/rm", "unseen");
        create(zk, "/rm/kid");
        data.await(event(DataWatchRemoved, "/rm"), event(DataWatchRemoved, "/rm"));
        return null;
    }

    private static Object watchesAreSetAgainAfterALostConnection() throws Exception {
        Events session = new Events();
        ZooKeeper zk = proxied(session);
        ZooKeeper other = client();
        create(zk, "/again");
        create(zk, "/again/kid");
        Events kept = new Events();
        Events missed = new Events();
        Events created = new Events();
        Events children = new Events();
        Events recursive = new Events();
        Events persistent = new Events();
        zk.getData("/again", kept, null);
        zk.getData("/again/kid", missed, null);
        zk.exists("/again/later", created);
        zk.getChildren("/again", children);
        zk.addWatch("/again", recursive, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.addWatch("/again", persistent, AddWatchMode.PERSISTENT);
        Checks.tell("block");
        session.awaitState(KeeperState.Disconnected);
        set(other, "/again/kid", "while away");
        create(other, "/again/later");
        Checks.tell("open");
        missed.await(event(NodeDataChanged, "/again/kid"));
        created.await(event(NodeCreated, "/again/later"));
        children.await(event(NodeChildrenChanged, "/again"));
        Checks.equal(kept.seen, List.of());
        set(other, "/again", "now");
        kept.await(event(NodeDataChanged, "/again"));
        // What the lost-and-found one-shot watches were told reached every watcher of those paths.
        Checks.eventually("persistent", () -> persistent.seen.contains(event(NodeDataChanged, "/again")));
        Checks.eventually("recursive", () -> recursive.seen.contains(event(NodeDataChanged, "/again")));
        int before = recursive.seen.size();
        set(other, "/again/kid", "deep");
        Checks.eventually("recursive, deep", () -> recursive.seen.size() == before + 1);
        return null;
    }

    private static Object manyWatchesAreSetAgain() throws Exception {
        Events session = new Events();
        ZooKeeper zk = proxied(session);
        create(zk, "/lots");
        int count = 2000;
        Events events = new Events();
        for (int i = 0; i < count; i++) {
            // More than one setWatches frame: the client splits it at 128 KiB.
            zk.exists(String.format("/lots/a-name-that-makes-a-setwatches-frame-grow-beyond-its-limit-%050d", i), events,
                (code, path, context, stat) -> { }, null);
        }
        zk.sync("/lots");
        Checks.tell("cut");
        session.awaitState(KeeperState.Disconnected);
        for (int i = 0; i < count; i += 100) {
            String path = String.format("/lots/a-name-that-makes-a-setwatches-frame-grow-beyond-its-limit-%050d", i);
            retry(() -> create(zk, path));
        }
        Checks.eventually("all events", () -> events.seen.size() == count / 100);
        return null;
    }

    // ---------------------------------------------------------------- sessions

    private static Object timeoutIsNegotiated() throws Exception {
        int least = connect(Checks.SERVER, Checks.TICK_MS, new Events()).getSessionTimeout();
        int most = connect(Checks.SERVER, 10_000_000, new Events()).getSessionTimeout();
        Checks.equal(List.of(least, most), List.of(2 * Checks.TICK_MS, 20 * Checks.TICK_MS));
        return null;
    }

    private static Object sessionSurvivesCuts() throws Exception {
        Events events = new Events();
        ZooKeeper zk = proxied(events);
        long id = zk.getSessionId();
        create(zk, "/cuts", CreateMode.EPHEMERAL);
        for (int i = 0; i < 3; i++) {
            Checks.tell("cut");
            Checks.equal(retry(() -> zk.exists("/cuts", false)).getEphemeralOwner(), id);
        }
        Checks.equal(zk.getSessionId(), id);
        Checks.isTrue(!events.states.contains(KeeperState.Expired), "not expired");
        return null;
    }

    private static Object writesThroughCutsHappenAtMostOnce() throws Exception {
        Events events = new Events();
        ZooKeeper zk = proxied(events);
        create(zk, "/cutting");
        int answered = 0;
        int lost = 0;
        for (int i = 0; i < 40; i++) {
            try {
                if (i % 20 == 7) {
                    zk.setData("/cutting", null, -1, (code, path, context, stat) -> { }, null);
                    Checks.tell("cut");
                    lost++;
                }
                zk.setData("/cutting", null, -1);
                answered++;
            } catch (KeeperException.ConnectionLossException e) {
                lost++;
            }
        }
        int version = retry(() -> zk.exists("/cutting", false)).getVersion();
        Checks.isTrue(version >= answered && version <= answered + lost,
            "version " + version + ", answered " + answered + ", unknown " + lost);
        return "version " + version + ", answered " + answered + ", unknown " + lost;
    }

    private static Object attachWithIdAndPassword() throws Exception {
        Events first = new Events();
        ZooKeeper zk = connect(Checks.SERVER, TIMEOUT_MS, first);
        create(zk, "/attach", CreateMode.EPHEMERAL);
        Events second = new Events();
        ZooKeeper heir = attach(Checks.SERVER, zk.getSessionId(), zk.getSessionPasswd(), second);
        second.awaitState(KeeperState.SyncConnected);
        first.awaitState(KeeperState.Disconnected);
        Checks.equal(heir.getSessionId(), zk.getSessionId());
        Checks.isTrue(Arrays.equals(heir.getSessionPasswd(), zk.getSessionPasswd()), "the same password");
        Checks.equal(retry(() -> heir.exists("/attach", false)).getEphemeralOwner(), zk.getSessionId());
        return null;
    }

    private static Object attachWithWrongPasswordOrToNothingExpires() throws Exception {
        ZooKeeper zk = client();
        create(zk, "/guard", CreateMode.EPHEMERAL);
        Events thief = new Events();
        attach(Checks.SERVER, zk.getSessionId(), new byte[16], thief);
        thief.awaitState(KeeperState.Expired);
        Events ghost = new Events();
        attach(Checks.SERVER, 0x0123456789ABCDEFL, new byte[16], ghost);
        ghost.awaitState(KeeperState.Expired);
        Checks.equal(retry(() -> zk.exists("/guard", false)).getEphemeralOwner(), zk.getSessionId());
        zk.close();
        Events late = new Events();
        attach(Checks.SERVER, zk.getSessionId(), zk.getSessionPasswd(), late);
        late.awaitState(KeeperState.Expired);
        return null;
    }

    private static Object expiryDeletesEphemerals() throws Exception {
        Events events = new Events();
        Events gone = new Events();
        ZooKeeper zk = connect(Checks.PROXY, 2 * Checks.TICK_MS, events);
        ZooKeeper other = client();
        create(zk, "/expiry");
        create(zk, "/expiry/e1", CreateMode.EPHEMERAL);
        create(zk, "/expiry/e2", CreateMode.EPHEMERAL);
        other.addWatch("/expiry", gone, AddWatchMode.PERSISTENT_RECURSIVE);
        Checks.tell("block");
        Checks.eventually("both gone", () -> gone.seen.size() == 2);
        Checks.equal(new TreeSet<>(gone.seen),
            new TreeSet<>(List.of(event(NodeDeleted, "/expiry/e1"), event(NodeDeleted, "/expiry/e2"))));
        Checks.equal(gone.zxids.get(0), gone.zxids.get(1));
        Checks.tell("open");
        events.awaitState(KeeperState.Expired);
        Checks.raises(KeeperException.SessionExpiredException.class, () -> zk.exists("/", false));
        return null;
    }

    private static Object idleSessionIsKeptByPings() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(Checks.SERVER, 2 * Checks.TICK_MS, events);
        create(zk, "/idle", CreateMode.EPHEMERAL);
        long owner = zk.getSessionId();
        // The time itself is what is tested: three timeouts without a request.
        Thread.sleep(6L * Checks.TICK_MS);
        Checks.equal(zk.exists("/idle", false).getEphemeralOwner(), owner);
        Checks.equal(events.states, List.of(KeeperState.SyncConnected));
        return null;
    }

    private static Object readOnlyClientAgainstAWritableServer() throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk =
            Checks.closing(new ZooKeeper(Checks.SERVER, TIMEOUT_MS, event -> connected.countDown(), true));
        Checks.isTrue(connected.await(20, TimeUnit.SECONDS), "connected");
        Checks.equal(zk.getState(), ZooKeeper.States.CONNECTED);
        create(zk, "/ro-client");
        return null;
    }

    private static Object chroot() throws Exception {
        ZooKeeper plain = client();
        create(plain, "/root");
        ZooKeeper zk = connect(Checks.SERVER + "/root", TIMEOUT_MS, new Events());
        Events events = new Events();
        zk.addWatch("/", events, AddWatchMode.PERSISTENT_RECURSIVE);
        create(zk, "/in");
        create(plain, "/root/side");
        events.await(event(NodeCreated, "/in"), event(NodeCreated, "/side"));
        Checks.equal(new TreeSet<>(plain.getChildren("/root", false)).toString(), "[in, side]");
        return null;
    }

    private static Object sessionsSurviveACrashOfTheServer() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(Checks.SERVER, TIMEOUT_MS, events);
        long id = zk.getSessionId();
        create(zk, "/crash");
        create(zk, "/crash/e", CreateMode.EPHEMERAL);
        create(zk, "/crash/c", CreateMode.CONTAINER);
        create(zk, "/crash/s-", CreateMode.PERSISTENT_SEQUENTIAL);
        zk.addAuthInfo("digest", Checks.bytes("cr:ash"));
        zk.setData("/crash", Checks.bytes("before"), 0);
        zk.create("/crash/acl", Checks.bytes("x"), CREATOR_ALL_ACL, PERSISTENT);
        Events data = new Events();
        Events recursive = new Events();
        Stat before = new Stat();
        zk.getData("/crash", data, before);
        zk.addWatch("/crash", recursive, AddWatchMode.PERSISTENT_RECURSIVE);
        Checks.tell("restart");
        Stat after = new Stat();
        Checks.equal(Checks.text(retry(() -> zk.getData("/crash", false, after))), "before");
        Checks.equal(after, before);
        Checks.equal(zk.getSessionId(), id);
        Checks.equal(retry(() -> zk.exists("/crash/e", false)).getEphemeralOwner(), id);
        Checks.equal(Checks.text(retry(() -> zk.getData("/crash/acl", false, null))), "x");
        Checks.equal(retry(() -> create(zk, "/crash/s-", CreateMode.PERSISTENT_SEQUENTIAL)), "/crash/s-0000000004");
        set(zk, "/crash", "after");
        data.await(event(NodeDataChanged, "/crash"));
        recursive.await(event(NodeCreated, "/crash/s-0000000004"), event(NodeDataChanged, "/crash"));
        Checks.isTrue(!events.states.contains(KeeperState.Expired), "not expired: " + events.states);
        zk.close();
        Checks.isTrue(client().exists("/crash/e", false) == null, "the ephemeral goes with its session");
        return null;
    }

    public static void main(String[] arguments) throws Exception {
        Checks.check("create-modes", ClientChecks::createModes);
        Checks.check("container-goes-with-its-last-child", ClientChecks::containerGoesWithItsLastChild);
        Checks.check("ttl-node-goes-when-its-time-is-over", ClientChecks::ttlNodeGoesWhenItsTimeIsOver);
        Checks.check("errors-have-their-codes", ClientChecks::errorsHaveTheirCodes);
        Checks.check("whole-tree-questions", ClientChecks::wholeTreeQuestions);
        Checks.check("many-children", ClientChecks::manyChildren);
        Checks.check("answers-come-in-the-order-of-the-requests", ClientChecks::answersComeInTheOrderOfTheRequests);
        Checks.check("big-data", ClientChecks::bigData);
        Checks.check("multi-succeeds-as-one", ClientChecks::multiSucceedsAsOne);
        Checks.check("multi-fails-as-one", ClientChecks::multiFailsAsOne);
        Checks.check("transaction-builder", ClientChecks::transactionBuilder);
        Checks.check("multi-read-answers-each-for-itself", ClientChecks::multiReadAnswersEachForItself);
        Checks.check("who-am-i-and-auth", ClientChecks::whoAmIAndAuth);
        Checks.check("unknown-auth-scheme-fails-the-connection", ClientChecks::unknownAuthSchemeFailsTheConnection);
        Checks.check("sasl-is-absent", ClientChecks::saslIsAbsent);
        Checks.check("reconfig-is-disabled", ClientChecks::reconfigIsDisabled);
        Checks.check("one-shot-watches", ClientChecks::oneShotWatches);
        Checks.check("persistent-watch", ClientChecks::persistentWatch);
        Checks.check("persistent-recursive-watch", ClientChecks::persistentRecursiveWatch);
        Checks.check("removing-watches", ClientChecks::removingWatches);
        Checks.check("watches-are-set-again-after-a-lost-connection",
            ClientChecks::watchesAreSetAgainAfterALostConnection);
        Checks.check("many-watches-are-set-again", ClientChecks::manyWatchesAreSetAgain);
        Checks.check("timeout-is-negotiated", ClientChecks::timeoutIsNegotiated);
        Checks.check("session-survives-cuts", ClientChecks::sessionSurvivesCuts);
        Checks.check("writes-through-cuts-happen-at-most-once", ClientChecks::writesThroughCutsHappenAtMostOnce);
        Checks.check("attach-with-id-and-password", ClientChecks::attachWithIdAndPassword);
        Checks.check("attach-with-wrong-password-or-to-nothing-expires",
            ClientChecks::attachWithWrongPasswordOrToNothingExpires);
        Checks.check("expiry-deletes-ephemerals", ClientChecks::expiryDeletesEphemerals);
        Checks.check("idle-session-is-kept-by-pings", ClientChecks::idleSessionIsKeptByPings);
        Checks.check("read-only-client-against-a-writable-server", ClientChecks::readOnlyClientAgainstAWritableServer);
        Checks.check("chroot", ClientChecks::chroot);
        Checks.check("sessions-survive-a-crash-of-the-server", ClientChecks::sessionsSurviveACrashOfTheServer);
        Checks.done();
    }
}
