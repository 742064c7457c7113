import static org.apache.zookeeper.Watcher.Event.EventType.NodeChildrenChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeCreated;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDataChanged;
import static org.apache.zookeeper.Watcher.Event.EventType.NodeDeleted;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.client.FourLetterWordMain;
import org.apache.zookeeper.data.Stat;

/** The original Java client on an ensemble whose servers are killed, restarted, removed and added. */
final class EnsembleChecks {
    private static final int TIMEOUT_MS = 16 * Checks.TICK_MS;
    private static final List<String> SERVERS = Arrays.asList(Checks.SERVER.split(","));

    private EnsembleChecks() {}

    private static ZooKeeper client(ClientChecks.Events events) throws Exception {
        return ClientChecks.connect(Checks.SERVER, TIMEOUT_MS, events);
    }

    private static ZooKeeper client() throws Exception {
        return client(new ClientChecks.Events());
    }

    private static ZooKeeper clientOf(int server) throws Exception {
        return ClientChecks.connect(SERVERS.get(server - 1), TIMEOUT_MS, new ClientChecks.Events());
    }

    /** Whatever was acknowledged before is seen by reads that follow. */
    private static void sync(ZooKeeper zk) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        AtomicInteger code = new AtomicInteger();
        zk.sync("/", (rc, path, context) -> {
            code.set(rc);
            done.countDown();
        }, null);
        Checks.isTrue(done.await(20, TimeUnit.SECONDS), "an answer to sync");
        Checks.equal(code.get(), 0);
    }

    private static String hex(ZooKeeper zk) {
        return Long.toHexString(zk.getSessionId());
    }

    private static void killHome(ZooKeeper zk) throws Exception {
        Checks.tell("kill-home " + hex(zk));
    }

    private static String word(int server, String word) throws Exception {
        String[] address = SERVERS.get(server - 1).split(":");
        return FourLetterWordMain.send4LetterWord(address[0], Integer.parseInt(address[1]), word);
    }

    private static boolean isHome(int server, ZooKeeper zk) throws Exception {
        return word(server, "cons").contains("sid=0x" + hex(zk) + ",");
    }

    private static int follower() throws Exception {
        for (int server = 1; server <= SERVERS.size(); server++) {
            if (word(server, "srvr").contains("Mode: follower")) {
                return server;
            }
        }
        throw new AssertionError("no follower");
    }

    // ---------------------------------------------------------------- one service

    private static Object everyServerTakesWrites() throws Exception {
        ClientChecks.create(client(), "/each");
        long last = 0;
        for (int server = 1; server <= SERVERS.size(); server++) {
            ZooKeeper zk = clientOf(server);
            String path = "/each/" + server;
            zk.multi(List.of(
                Op.create(path, Checks.bytes("m"), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.create(path + "/s-", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL),
                Op.create(path + "/e", null, OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL)));
            Checks.raises(KeeperException.BadVersionException.class, () -> zk.setData(path, null, 7));
            Checks.raises(KeeperException.NodeExistsException.class, () -> ClientChecks.create(zk, path));
            Stat stat = zk.setData(path, Checks.bytes("changed"), 0);
            Checks.isTrue(stat.getMzxid() > stat.getCzxid() && stat.getCzxid() > last, "zxids go up: " + stat);
            last = stat.getMzxid();
        }
        List<String> seen = new ArrayList<>();
        for (int server = 1; server <= SERVERS.size(); server++) {
            ZooKeeper zk = clientOf(server);
            sync(zk);
            StringBuilder all = new StringBuilder();
            for (String name : new TreeSet<>(zk.getChildren("/each", false))) {
                Stat stat = new Stat();
                all.append(name).append(Checks.text(zk.getData("/each/" + name, false, stat))).append(stat);
                all.append(new TreeSet<>(zk.getChildren("/each/" + name, false)));
            }
            seen.add(all.toString());
        }
        Checks.equal(seen.get(1), seen.get(0));
        Checks.equal(seen.get(2), seen.get(0));
        return null;
    }

    private static Object sessionOnAnotherServerEndsTheFirstConnection() throws Exception {
        ClientChecks.Events first = new ClientChecks.Events();
        ClientChecks.Events second = new ClientChecks.Events();
        ZooKeeper zk = ClientChecks.connect(SERVERS.get(0), TIMEOUT_MS, first);
        ClientChecks.create(zk, "/two-homes", CreateMode.EPHEMERAL);
        ZooKeeper heir = ClientChecks.attach(SERVERS.get(1), zk.getSessionId(), zk.getSessionPasswd(), second);
        second.awaitState(KeeperState.SyncConnected);
        Checks.equal(heir.getSessionId(), zk.getSessionId());
        // Until the first one is sent something for its old home it may believe that it still has it.
        Stat stat = ClientChecks.retry(() -> heir.setData("/two-homes", Checks.bytes("heir"), -1));
        Checks.equal(heir.exists("/two-homes", false).getEphemeralOwner(), zk.getSessionId());
        Checks.isTrue(stat.getVersion() >= 1, "written");
        ZooKeeper other = client();
        heir.close();
        sync(other);
        Checks.isTrue(other.exists("/two-homes", false) == null, "closed for both");
        first.awaitState(KeeperState.Expired);
        return null;
    }

    // ---------------------------------------------------------------- servers that are killed

    private static Object watchesAreSetAgainAtAnotherServer() throws Exception {
        ClientChecks.Events states = new ClientChecks.Events();
        ZooKeeper zk = client(states);
        ZooKeeper other = client();
        for (String path : List.of("/moved", "/moved/data", "/moved/gone", "/moved/kids", "/moved/all")) {
            ClientChecks.create(other, path);
        }
        sync(zk);
        long session = zk.getSessionId();
        ClientChecks.create(zk, "/moved/e", CreateMode.EPHEMERAL);
        ClientChecks.Events data = new ClientChecks.Events();
        ClientChecks.Events gone = new ClientChecks.Events();
        ClientChecks.Events born = new ClientChecks.Events();
        ClientChecks.Events kids = new ClientChecks.Events();
        ClientChecks.Events all = new ClientChecks.Events();
        zk.getData("/moved/data", data, null);
        zk.exists("/moved/gone", gone);
        zk.exists("/moved/born", born);
        zk.getChildren("/moved/kids", kids);
        zk.addWatch("/moved/all", all, AddWatchMode.PERSISTENT_RECURSIVE);
        killHome(zk);
        ClientChecks.retry(() -> other.setData("/moved/data", null, -1));
        ClientChecks.retry(() -> {
            other.delete("/moved/gone", -1);
            return null;
        });
        ClientChecks.retry(() -> ClientChecks.create(other, "/moved/born"));
        ClientChecks.retry(() -> ClientChecks.create(other, "/moved/kids/a"));
        data.await(ClientChecks.event(NodeDataChanged, "/moved/data"));
        gone.await(ClientChecks.event(NodeDeleted, "/moved/gone"));
        born.await(ClientChecks.event(NodeCreated, "/moved/born"));
        kids.await(ClientChecks.event(NodeChildrenChanged, "/moved/kids"));
        Checks.equal(zk.getSessionId(), session);
        Checks.equal(ClientChecks.retry(() -> other.exists("/moved/e", false)).getEphemeralOwner(), session);
        ClientChecks.create(other, "/moved/all/a");
        all.await(ClientChecks.event(NodeCreated, "/moved/all/a"));
        Checks.isTrue(!states.states.contains(KeeperState.Expired), "not expired");
        return null;
    }

    private static Object pipelinedWritesThroughKillsHappenAtMostOnce() throws Exception {
        ZooKeeper zk = client();
        ClientChecks.create(zk, "/pipe");
        ConcurrentSkipListMap<Integer, String> made = new ConcurrentSkipListMap<>();
        AtomicInteger unclear = new AtomicInteger();
        List<Integer> wrong = new ArrayList<>();
        Semaphore window = new Semaphore(100);
        List<String> orders = List.of("kill-leader", "start", "kill-follower", "start", "kill-home " + hex(zk), "start");
        int sent = 0;
        for (String order : orders) {
            Thread told = new Thread(() -> {
                try {
                    Checks.tell(order);
                } catch (Exception e) {
                    synchronized (wrong) {
                        wrong.add(-1);
                    }
                }
            });
            told.start();
            int enough = sent + 100;
            while (sent < enough || told.isAlive()) {
                int number = sent++;
                Checks.isTrue(window.tryAcquire(30, TimeUnit.SECONDS), "answers");
                zk.create("/pipe/n-", Checks.bytes("" + number), OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL,
                    (rc, path, context, name) -> {
                        if (rc == 0) {
                            made.put(number, name);
                        } else if (rc == KeeperException.Code.CONNECTIONLOSS.intValue()) {
                            unclear.incrementAndGet();
                        } else {
                            synchronized (wrong) {
                                wrong.add(rc);
                            }
                        }
                        window.release();
                    }, null);
                // What can not be sent is answered at once while there is no connection.
                if (unclear.get() > 0 && !zk.getState().isConnected()) {
                    Thread.sleep(10);
                }
            }
        }
        Checks.isTrue(window.tryAcquire(100, 30, TimeUnit.SECONDS), "all answered");
        Checks.equal(wrong, List.of());
        sync(zk);
        List<String> names = new ArrayList<>(new TreeSet<>(zk.getChildren("/pipe", false)));
        Set<String> contents = new TreeSet<>();
        for (String name : names) {
            Checks.isTrue(contents.add(Checks.text(zk.getData("/pipe/" + name, false, null))), name + " came twice");
        }
        String before = "";
        for (String name : made.values()) {
            Checks.isTrue(name.compareTo(before) > 0, name + " behind " + before);
            before = name;
        }
        made.forEach((number, name) -> Checks.isTrue(names.contains(name.substring("/pipe/".length())), name + " lost"));
        Checks.isTrue(names.size() <= made.size() + unclear.get(), "nothing that was not asked for");
        return made.size() + " of " + sent + " acknowledged, " + unclear + " unclear";
    }

    private static Object sessionsSurviveTheLossOfTheQuorum() throws Exception {
        ClientChecks.Events states = new ClientChecks.Events();
        ZooKeeper zk = ClientChecks.connect(Checks.SERVER, 4 * Checks.TICK_MS, states);
        ClientChecks.create(zk, "/quorum", CreateMode.EPHEMERAL);
        long session = zk.getSessionId();
        Checks.tell("leave " + follower());
        states.awaitState(KeeperState.Disconnected);
        Checks.raises(KeeperException.ConnectionLossException.class, () -> zk.setData("/quorum", null, -1));
        Checks.tell("kill-all");
        Checks.tell("start");
        Checks.equal(ClientChecks.retry(() -> zk.exists("/quorum", false)).getEphemeralOwner(), session);
        Checks.isTrue(!states.states.contains(KeeperState.Expired), "not expired");
        return null;
    }

    private static Object expiryIsUpToTheNewLeader() throws Exception {
        ZooKeeper silent = ClientChecks.connect(Checks.SERVER, 4 * Checks.TICK_MS, new ClientChecks.Events());
        ClientChecks.create(silent, "/silent", CreateMode.EPHEMERAL);
        ClientChecks.Events gone = new ClientChecks.Events();
        ZooKeeper other = client();
        sync(other);
        other.exists("/silent", gone);
        // Off the net without a farewell: the client's threads are told to go nowhere.
        silent.updateServerList("127.0.0.1:1");
        Checks.tell("kill-leader");
        gone.await(ClientChecks.event(NodeDeleted, "/silent"));
        return null;
    }

    private static Object containersGoUnderTheNewLeader() throws Exception {
        ZooKeeper zk = client();
        ClientChecks.create(zk, "/container", CreateMode.CONTAINER);
        ClientChecks.create(zk, "/container/kid");
        zk.create("/ttl", null, OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, null, 1500);
        Checks.tell("kill-leader");
        ClientChecks.retry(() -> {
            zk.delete("/container/kid", -1);
            return null;
        });
        Checks.eventually("both gone", () -> ClientChecks.retry(() -> zk.exists("/container", false)) == null
            && ClientChecks.retry(() -> zk.exists("/ttl", false)) == null);
        return null;
    }

    // ---------------------------------------------------------------- members

    private static Object clientMovesWithItsListOfServers() throws Exception {
        ZooKeeper zk = clientOf(1);
        long session = zk.getSessionId();
        ClientChecks.create(zk, "/list", CreateMode.EPHEMERAL);
        Checks.isTrue(isHome(1, zk), "at server 1");
        zk.updateServerList(SERVERS.get(1) + "," + SERVERS.get(2));
        Checks.eventually("at another", () -> isHome(2, zk) || isHome(3, zk));
        Checks.equal(ClientChecks.retry(() -> zk.exists("/list", false)).getEphemeralOwner(), session);
        return null;
    }

    private static Object membersAreChangedByTheAdmin() throws Exception {
        ClientChecks.Events connected = new ClientChecks.Events();
        ZooKeeperAdmin admin = Checks.closing(new ZooKeeperAdmin(Checks.SERVER, TIMEOUT_MS, connected));
        connected.awaitState(KeeperState.SyncConnected);
        int leaving = follower();
        Checks.raises(KeeperException.NoAuthException.class,
            () -> admin.reconfigure((String) null, "" + leaving, null, -1, null));
        admin.addAuthInfo("digest", Checks.bytes("super:interop"));
        ClientChecks.Events changed = new ClientChecks.Events();
        Stat stat = new Stat();
        String before = Checks.text(admin.getConfig(changed, stat));
        String line = Arrays.stream(before.split("\n")).filter(text -> text.startsWith("server." + leaving)).findFirst().get();
        long version = Long.parseLong(before.substring(before.indexOf("version=") + 8).trim(), 16);
        String smaller = Checks.text(admin.reconfigure((String) null, "" + leaving, null, version, stat));
        Checks.isTrue(!smaller.contains(line), smaller);
        changed.await(ClientChecks.event(NodeDataChanged, "/zookeeper/config"));
        Checks.raises(KeeperException.BadVersionException.class,
            () -> admin.reconfigure(line, null, null, version, null));
        Checks.eventually("three again", () -> {
            try {
                return Checks.text(admin.reconfigure(line, null, null, -1, null)).contains(line);
            } catch (KeeperException.NewConfigNoQuorum | KeeperException.ReconfigInProgress
                | KeeperException.ConnectionLossException e) {
                return false;
            }
        });
        ZooKeeper there = clientOf(leaving);
        sync(there);
        Checks.isTrue(Checks.text(there.getConfig(false, null)).contains(line), "it knows that it is back");
        return null;
    }

    private static Object rollingRestart() throws Exception {
        ClientChecks.Events states = new ClientChecks.Events();
        ClientChecks.Events all = new ClientChecks.Events();
        ZooKeeper zk = client(states);
        long session = zk.getSessionId();
        ClientChecks.create(zk, "/roll", CreateMode.EPHEMERAL);
        ZooKeeper other = client();
        ClientChecks.create(other, "/rolled");
        sync(zk);
        zk.addWatch("/rolled", all, AddWatchMode.PERSISTENT_RECURSIVE);
        Checks.tell("roll");
        Checks.equal(ClientChecks.retry(() -> zk.exists("/roll", false)).getEphemeralOwner(), session);
        ClientChecks.retry(() -> ClientChecks.create(other, "/rolled/a"));
        all.await(ClientChecks.event(NodeCreated, "/rolled/a"));
        Checks.isTrue(!states.states.contains(KeeperState.Expired), "not expired");
        return null;
    }

    public static void main(String[] arguments) throws Exception {
        Checks.check("every-server-takes-writes", EnsembleChecks::everyServerTakesWrites);
        Checks.check("session-on-another-server-ends-the-first-connection",
            EnsembleChecks::sessionOnAnotherServerEndsTheFirstConnection);
        Checks.check("watches-are-set-again-at-another-server", EnsembleChecks::watchesAreSetAgainAtAnotherServer);
        Checks.check("pipelined-writes-through-kills-happen-at-most-once",
            EnsembleChecks::pipelinedWritesThroughKillsHappenAtMostOnce);
        Checks.check("sessions-survive-the-loss-of-the-quorum", EnsembleChecks::sessionsSurviveTheLossOfTheQuorum);
        Checks.check("expiry-is-up-to-the-new-leader", EnsembleChecks::expiryIsUpToTheNewLeader);
        Checks.check("containers-go-under-the-new-leader", EnsembleChecks::containersGoUnderTheNewLeader);
        Checks.check("client-moves-with-its-list-of-servers", EnsembleChecks::clientMovesWithItsListOfServers);
        Checks.check("members-are-changed-by-the-admin", EnsembleChecks::membersAreChangedByTheAdmin);
        Checks.check("rolling-restart", EnsembleChecks::rollingRestart);
        Checks.done();
    }
}
