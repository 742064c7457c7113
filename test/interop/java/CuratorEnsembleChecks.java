import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/** Curator's recipes on an ensemble whose servers are killed and restarted, and its view of the members. */
final class CuratorEnsembleChecks {
    private static final int SESSION_MS = 16 * Checks.TICK_MS;
    private static final int WAIT_S = 30;

    private CuratorEnsembleChecks() {}

    private static CuratorFramework client() throws Exception {
        return CuratorChecks.client(Checks.SERVER, SESSION_MS);
    }

    /** The list of states that a client is told from now on. */
    private static List<ConnectionState> states(CuratorFramework curator) {
        List<ConnectionState> states = new CopyOnWriteArrayList<>();
        curator.getConnectionStateListenable().addListener((client, state) -> states.add(state));
        return states;
    }

    private static void killHome(CuratorFramework curator) throws Exception {
        Checks.tell("kill-home " + Long.toHexString(curator.getZookeeperClient().getZooKeeper().getSessionId()));
    }

    /** Three candidates, of which never two believe that they lead. */
    private static final class Candidates {
        final List<CuratorFramework> clients = new ArrayList<>();
        final List<LeaderLatch> latches = new ArrayList<>();
        final AtomicInteger worst = new AtomicInteger();
        private final AtomicBoolean done = new AtomicBoolean();
        private final Future<?> watching;

        Candidates(String path) throws Exception {
            for (int i = 0; i < 3; i++) {
                CuratorFramework curator = client();
                LeaderLatch latch = Checks.closing(new LeaderLatch(curator, path, "" + i));
                latch.start();
                clients.add(curator);
                latches.add(latch);
            }
            watching = CuratorChecks.pool().submit(() -> {
                while (!done.get()) {
                    worst.accumulateAndGet((int) leading(), Math::max);
                    Thread.sleep(1);
                }
                return null;
            });
            await();
        }

        long leading() {
            return latches.stream().filter(LeaderLatch::hasLeadership).count();
        }

        void await() throws Exception {
            Checks.eventually("one leads", () -> leading() == 1);
        }

        int leader() throws Exception {
            await();
            for (int i = 0; i < latches.size(); i++) {
                if (latches.get(i).hasLeadership()) {
                    return i;
                }
            }
            throw new AssertionError("nobody leads");
        }

        void close() throws Exception {
            done.set(true);
            watching.get(WAIT_S, TimeUnit.SECONDS);
            Checks.equal(worst.get(), 1);
        }
    }

    /** Three clients that pass a lock round, of which never two are inside. */
    private static final class Workers {
        final AtomicInteger turns = new AtomicInteger();
        private final AtomicInteger inside = new AtomicInteger();
        private final AtomicInteger worst = new AtomicInteger();
        private final AtomicBoolean done = new AtomicBoolean();
        private final List<Future<?>> working = new ArrayList<>();

        Workers(String path) throws Exception {
            ExecutorService pool = CuratorChecks.pool();
            for (int i = 0; i < 3; i++) {
                CuratorFramework curator = client();
                working.add(pool.submit(() -> {
                    InterProcessMutex mutex = new InterProcessMutex(curator, path);
                    while (!done.get()) {
                        Checks.isTrue(mutex.acquire(WAIT_S, TimeUnit.SECONDS), "acquired");
                        worst.accumulateAndGet(inside.incrementAndGet(), Math::max);
                        curator.setData().forPath(path, Checks.bytes("" + turns.incrementAndGet()));
                        inside.decrementAndGet();
                        mutex.release();
                    }
                    return null;
                }));
            }
        }

        void await(int more) throws Exception {
            int enough = turns.get() + more;
            Checks.eventually("the lock goes round", () -> turns.get() >= enough
                || working.stream().anyMatch(Future::isDone));
            for (Future<?> worker : working) {
                if (worker.isDone()) {
                    worker.get();
                }
            }
        }

        void close() throws Exception {
            done.set(true);
            for (Future<?> worker : working) {
                worker.get(WAIT_S, TimeUnit.SECONDS);
            }
            Checks.equal(worst.get(), 1);
        }
    }

    private static Object leaderLatchThroughKills() throws Exception {
        Candidates candidates = new Candidates("/latch");
        int leader = candidates.leader();
        List<ConnectionState> states = states(candidates.clients.get(leader));
        killHome(candidates.clients.get(leader));
        Checks.eventually("connected again", () -> states.contains(ConnectionState.RECONNECTED));
        candidates.await();
        Checks.tell("start");
        Checks.tell("kill-leader");
        candidates.await();
        Checks.tell("start");
        Checks.isTrue(!states.contains(ConnectionState.LOST), "its session was kept: " + states);
        int last = candidates.leader();
        candidates.latches.get(last).close();
        Checks.eventually("another leads", () -> candidates.leading() == 1 && candidates.leader() != last);
        candidates.close();
        return null;
    }

    private static Object mutexThroughKills() throws Exception {
        client().create().forPath("/mutex");
        Workers workers = new Workers("/mutex");
        workers.await(10);
        for (String order : List.of("kill-leader", "start", "kill-follower", "start")) {
            Checks.tell(order);
            workers.await(10);
        }
        workers.close();
        return workers.turns + " turns";
    }

    private static Object persistentNodeAndCacheThroughKills() throws Exception {
        CuratorFramework owner = client();
        CuratorFramework reader = client();
        PersistentNode node =
            Checks.closing(new PersistentNode(owner, CreateMode.EPHEMERAL, false, "/persistent/n", Checks.bytes("mine")));
        node.start();
        Checks.isTrue(node.waitForInitialCreate(WAIT_S, TimeUnit.SECONDS), "created");
        CuratorCache cache = Checks.closing(CuratorCache.build(reader, "/persistent"));
        cache.start();
        Checks.eventually("cached", () -> cache.get("/persistent/n").isPresent());
        long session = owner.getZookeeperClient().getZooKeeper().getSessionId();
        killHome(owner);
        Checks.equal(reader.checkExists().forPath("/persistent/n").getEphemeralOwner(), session);
        node.setData(Checks.bytes("changed"));
        Checks.eventually("seen", () -> Checks.text(cache.get("/persistent/n").get().getData()).equals("changed"));
        Checks.tell("start");
        killHome(reader);
        owner.create().forPath("/persistent/other", Checks.bytes("new"));
        Checks.eventually("seen too", () -> cache.get("/persistent/other").isPresent());
        // Somebody takes it away: it comes back.
        reader.delete().forPath("/persistent/n");
        Checks.eventually("there again", () -> reader.checkExists().forPath("/persistent/n") != null);
        return null;
    }

    private static Object recipesThroughARollingRestart() throws Exception {
        client().create().forPath("/roll-mutex");
        Candidates candidates = new Candidates("/roll-latch");
        Workers workers = new Workers("/roll-mutex");
        List<List<ConnectionState>> states = new ArrayList<>();
        for (CuratorFramework curator : candidates.clients) {
            states.add(states(curator));
        }
        CuratorFramework owner = client();
        PersistentNode node =
            Checks.closing(new PersistentNode(owner, CreateMode.EPHEMERAL, false, "/roll-node", Checks.bytes("mine")));
        node.start();
        Checks.isTrue(node.waitForInitialCreate(WAIT_S, TimeUnit.SECONDS), "created");
        Stat before = owner.checkExists().forPath("/roll-node");
        Checks.tell("roll");
        candidates.await();
        workers.await(10);
        Checks.equal(owner.checkExists().forPath("/roll-node").getCzxid(), before.getCzxid());
        for (List<ConnectionState> seen : states) {
            Checks.isTrue(!seen.contains(ConnectionState.LOST), "its session was kept: " + seen);
        }
        candidates.close();
        workers.close();
        return workers.turns + " turns";
    }

    private static Object protectedCreatesThroughTheKillOfTheLeader() throws Exception {
        CuratorFramework curator = client();
        curator.create().forPath("/protected");
        AtomicInteger answered = new AtomicInteger();
        int count = 200;
        for (int i = 0; i < count; i++) {
            curator.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                .inBackground((client, event) -> answered.incrementAndGet()).forPath("/protected/n-");
            if (i == count / 2) {
                Checks.tell("kill-leader");
            }
        }
        Checks.eventually("all answered", () -> answered.get() == count);
        Checks.equal(curator.getChildren().forPath("/protected").size(), count);
        return null;
    }

    private static Object ensembleTrackerFollowsTheMembers() throws Exception {
        Checks.tell("unseat 3");
        CuratorFramework tracking = client();
        CuratorFramework admin = Checks.closing(CuratorFrameworkFactory.builder().connectString(Checks.SERVER)
            .sessionTimeoutMs(SESSION_MS).authorization("digest", Checks.bytes("super:interop"))
            .retryPolicy(new RetryForever(100)).build());
        admin.start();
        Checks.equal(Checks.SERVER.split(",").length, 3);
        Checks.eventually("the members", () -> tracking.getCurrentConfig().getAllMembers().size() == 3);
        String third = Checks.SERVER.split(",")[2];
        String line = null;
        for (String text : Checks.text(admin.getConfig().forEnsemble()).split("\n")) {
            line = text.startsWith("server.3=") ? text : line;
        }
        long version = tracking.getCurrentConfig().getVersion();
        admin.reconfig().leaving("3").fromConfig(version).forEnsemble();
        Checks.eventually("two members", () -> members(tracking) == 2
            && !tracking.getZookeeperClient().getCurrentConnectionString().contains(third));
        Checks.isTrue(tracking.getCurrentConfig().getVersion() > version, "a newer version");
        tracking.create().forPath("/with-two");
        Checks.raises(KeeperException.BadVersionException.class,
            () -> admin.reconfig().leaving("2").fromConfig(version).forEnsemble());
        String joining = line;
        Checks.eventually("three again", () -> {
            try {
                admin.reconfig().joining(joining).forEnsemble();
                return members(tracking) == 3;
            } catch (KeeperException.NewConfigNoQuorum | KeeperException.ReconfigInProgress e) {
                return false;
            }
        });
        Checks.eventually("in the list", () ->
            tracking.getZookeeperClient().getCurrentConnectionString().contains(third));
        return null;
    }

    private static int members(CuratorFramework curator) {
        QuorumVerifier config = curator.getCurrentConfig();
        return config == null ? 0 : config.getAllMembers().size();
    }

    public static void main(String[] arguments) throws Exception {
        Checks.check("leader-latch-through-kills", CuratorEnsembleChecks::leaderLatchThroughKills);
        Checks.check("mutex-through-kills", CuratorEnsembleChecks::mutexThroughKills);
        Checks.check("persistent-node-and-cache-through-kills",
            CuratorEnsembleChecks::persistentNodeAndCacheThroughKills);
        Checks.check("protected-creates-through-the-kill-of-the-leader",
            CuratorEnsembleChecks::protectedCreatesThroughTheKillOfTheLeader);
        Checks.check("ensemble-tracker-follows-the-members", CuratorEnsembleChecks::ensembleTrackerFollowsTheMembers);
        Checks.check("recipes-through-a-rolling-restart", CuratorEnsembleChecks::recipesThroughARollingRestart);
        Checks.done();
    }
}
