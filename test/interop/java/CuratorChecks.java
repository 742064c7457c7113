import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.CuratorEventType;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs;

/** Apache Curator: its framework and its recipes. */
final class CuratorChecks {
    private static final int SESSION_MS = 16 * Checks.TICK_MS;
    private static final int CONNECT_MS = 10_000;
    private static final int WAIT_S = 20;

    private CuratorChecks() {}

    static CuratorFramework client(String server, int sessionMs) throws Exception {
        CuratorFramework curator = Checks.closing(CuratorFrameworkFactory.builder()
            .connectString(server)
            .sessionTimeoutMs(sessionMs)
            .connectionTimeoutMs(CONNECT_MS)
            .retryPolicy(new RetryForever(100))
            .build());
        curator.start();
        Checks.isTrue(curator.blockUntilConnected(WAIT_S, TimeUnit.SECONDS), "connected");
        return curator;
    }

    private static CuratorFramework client() throws Exception {
        return client(Checks.SERVER, SESSION_MS);
    }

    private static CuratorFramework proxied() throws Exception {
        return client(Checks.PROXY, SESSION_MS);
    }

    static ExecutorService pool() {
        ExecutorService pool = Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        Checks.closing(pool::shutdownNow);
        return pool;
    }

    // ---------------------------------------------------------------- framework

    private static Object fluentOperations() throws Exception {
        CuratorFramework curator = client();
        String path = curator.create().creatingParentContainersIfNeeded().forPath("/fluent/a/b", Checks.bytes("1"));
        Checks.equal(path, "/fluent/a/b");
        Checks.equal(curator.setData().withVersion(0).forPath(path, Checks.bytes("2")).getVersion(), 1);
        Checks.equal(Checks.text(curator.getData().forPath(path)), "2");
        Checks.equal(curator.getChildren().forPath("/fluent/a"), List.of("b"));
        curator.create().orSetData().forPath(path, Checks.bytes("3"));
        Checks.equal(Checks.text(curator.getData().forPath(path)), "3");
        String sequential = curator.create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/fluent/s-");
        Checks.equal(sequential, "/fluent/s-0000000001");
        curator.create().withTtl(60_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/fluent/ttl");
        curator.sync().forPath("/fluent");
        curator.delete().guaranteed().deletingChildrenIfNeeded().forPath("/fluent");
        Checks.isTrue(curator.checkExists().forPath("/fluent") == null, "deleted");
        curator.delete().quietly().forPath("/fluent");
        return null;
    }

    private static Object protectedCreateSurvivesACut() throws Exception {
        CuratorFramework curator = proxied();
        curator.create().forPath("/protected");
        for (int i = 0; i < 2; i++) {
            CountDownLatch done = new CountDownLatch(1);
            curator.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                .inBackground((client, event) -> done.countDown()).forPath("/protected/n-");
            Checks.tell("cut");
            Checks.isTrue(done.await(WAIT_S, TimeUnit.SECONDS), "created in spite of the cut");
        }
        Checks.equal(curator.getChildren().forPath("/protected").size(), 2);
        return null;
    }

    private static Object backgroundOperations() throws Exception {
        CuratorFramework curator = client();
        int count = 200;
        CountDownLatch left = new CountDownLatch(count);
        AtomicInteger created = new AtomicInteger();
        curator.create().forPath("/background");
        for (int i = 0; i < count; i++) {
            curator.create().inBackground((client, event) -> {
                if (event.getType() == CuratorEventType.CREATE && event.getResultCode() == 0) {
                    created.incrementAndGet();
                }
                left.countDown();
            }).forPath("/background/" + i);
        }
        Checks.isTrue(left.await(WAIT_S, TimeUnit.SECONDS), "all answered");
        Checks.equal(created.get(), count);
        Checks.equal(curator.getChildren().forPath("/background").size(), count);
        return null;
    }

    private static Object transactions() throws Exception {
        CuratorFramework curator = client();
        curator.create().forPath("/tx");
        List<CuratorTransactionResult> results = new ArrayList<>(curator.transaction().forOperations(
            curator.transactionOp().create().forPath("/tx/a", Checks.bytes("1")),
            curator.transactionOp().create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/tx/s-"),
            curator.transactionOp().setData().withVersion(0).forPath("/tx/a", Checks.bytes("2")),
            curator.transactionOp().check().withVersion(1).forPath("/tx/a"),
            curator.transactionOp().delete().forPath("/tx/a")));
        Checks.equal(results.get(1).getResultPath(), "/tx/s-0000000001");
        Checks.equal(results.get(2).getResultStat().getVersion(), 1);
        Checks.raises(KeeperException.NoNodeException.class, () -> curator.transaction().forOperations(
            curator.transactionOp().create().forPath("/tx/b"),
            curator.transactionOp().delete().forPath("/tx/none")));
        Checks.isTrue(curator.checkExists().forPath("/tx/b") == null, "rolled back");
        return null;
    }

    private static Object aclsAndNamespaces() throws Exception {
        CuratorFramework owner = Checks.closing(CuratorFrameworkFactory.builder().connectString(Checks.SERVER)
            .retryPolicy(new RetryOneTime(100)).authorization("digest", Checks.bytes("cu:rator")).namespace("spaced")
            .build());
        owner.start();
        owner.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/mine", Checks.bytes("x"));
        CuratorFramework other = client();
        Checks.raises(KeeperException.NoAuthException.class, () -> other.getData().forPath("/spaced/mine"));
        Checks.equal(Checks.text(owner.getData().forPath("/mine")), "x");
        return null;
    }

    private static Object connectionStates() throws Exception {
        CuratorFramework curator = client(Checks.PROXY, 2 * Checks.TICK_MS);
        List<ConnectionState> states = new CopyOnWriteArrayList<>();
        curator.getConnectionStateListenable().addListener((client, state) -> {
            // That it connected at all may be told before or after the listener is there.
            if (state != ConnectionState.CONNECTED) {
                states.add(state);
            }
        });
        Checks.tell("block");
        Checks.eventually("lost", () -> states.contains(ConnectionState.LOST));
        Checks.tell("open");
        Checks.eventually("back", () -> states.contains(ConnectionState.RECONNECTED));
        Checks.equal(states, List.of(ConnectionState.SUSPENDED, ConnectionState.LOST, ConnectionState.RECONNECTED));
        return null;
    }

    // ---------------------------------------------------------------- recipes

    private static Object mutex() throws Exception {
        ExecutorService pool = pool();
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger worst = new AtomicInteger();
        List<Future<?>> workers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            CuratorFramework curator = client();
            workers.add(pool.submit(() -> {
                InterProcessMutex mutex = new InterProcessMutex(curator, "/mutex");
                for (int turn = 0; turn < 10; turn++) {
                    Checks.isTrue(mutex.acquire(WAIT_S, TimeUnit.SECONDS), "acquired");
                    // Held twice by the same thread: the lock is re-entrant.
                    mutex.acquire();
                    worst.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    inside.decrementAndGet();
                    mutex.release();
                    mutex.release();
                }
                return null;
            }));
        }
        for (Future<?> worker : workers) {
            worker.get(WAIT_S * 2, TimeUnit.SECONDS);
        }
        Checks.equal(worst.get(), 1);
        return null;
    }

    private static Object mutexOfALostSessionIsFree() throws Exception {
        CuratorFramework holder = client(Checks.PROXY, 2 * Checks.TICK_MS);
        new InterProcessMutex(holder, "/orphan").acquire();
        InterProcessMutex waiting = new InterProcessMutex(client(), "/orphan");
        Checks.isTrue(!waiting.acquire(100, TimeUnit.MILLISECONDS), "not free yet");
        Checks.tell("block");
        Checks.isTrue(waiting.acquire(WAIT_S, TimeUnit.SECONDS), "free after the expiry");
        return null;
    }

    private static Object readWriteAndMultiLocks() throws Exception {
        InterProcessReadWriteLock one = new InterProcessReadWriteLock(client(), "/rwlock");
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(client(), "/rwlock");
        Checks.isTrue(one.readLock().acquire(5, TimeUnit.SECONDS), "first reader");
        Checks.isTrue(two.readLock().acquire(5, TimeUnit.SECONDS), "second reader");
        two.readLock().release();
        Checks.isTrue(!two.writeLock().acquire(100, TimeUnit.MILLISECONDS), "no writer beside a reader");
        one.readLock().release();
        Checks.isTrue(two.writeLock().acquire(5, TimeUnit.SECONDS), "writer");
        InterProcessMultiLock both = new InterProcessMultiLock(client(), Arrays.asList("/multi-a", "/multi-b"));
        Checks.isTrue(both.acquire(5, TimeUnit.SECONDS), "two locks as one");
        both.release();
        return null;
    }

    private static Object semaphore() throws Exception {
        InterProcessSemaphoreV2 one = new InterProcessSemaphoreV2(client(), "/semaphore", 2);
        InterProcessSemaphoreV2 two = new InterProcessSemaphoreV2(client(), "/semaphore", 2);
        Collection<Lease> leases = one.acquire(2, 5, TimeUnit.SECONDS);
        Checks.equal(leases.size(), 2);
        Checks.isTrue(two.acquire(100, TimeUnit.MILLISECONDS) == null, "no third lease");
        one.returnAll(leases);
        Checks.isTrue(two.acquire(5, TimeUnit.SECONDS) != null, "a lease again");
        return null;
    }

    private static Object leaderLatch() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch latch = new LeaderLatch(client(), "/latch", "" + i);
            latch.start();
            latches.add(latch);
        }
        Set<String> leaders = new TreeSet<>();
        while (!latches.isEmpty()) {
            Checks.eventually("one leads", () -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            Checks.equal(leader.getLeader().getId(), leader.getId());
            leaders.add(leader.getId());
            latches.remove(leader);
            leader.close();
        }
        Checks.equal(leaders.toString(), "[0, 1, 2]");
        return null;
    }

    private static Object leaderSelector() throws Exception {
        List<Integer> led = new CopyOnWriteArrayList<>();
        AtomicInteger inside = new AtomicInteger();
        for (int i = 0; i < 3; i++) {
            int number = i;
            LeaderSelector selector = Checks.closing(
                new LeaderSelector(client(), "/selector", new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework curator) {
                        led.add(inside.incrementAndGet() == 1 ? number : -1);
                        inside.decrementAndGet();
                    }
                }));
            selector.start();
        }
        Checks.eventually("each led once", () -> led.size() == 3);
        Checks.equal(new TreeSet<>(led).toString(), "[0, 1, 2]");
        return null;
    }

    private static Object curatorCache() throws Exception {
        CuratorFramework curator = proxied();
        CuratorFramework other = client();
        other.create().creatingParentsIfNeeded().forPath("/cache/a/b", Checks.bytes("0"));
        List<String> seen = new CopyOnWriteArrayList<>();
        CountDownLatch filled = new CountDownLatch(1);
        CuratorCache cache = Checks.closing(CuratorCache.build(curator, "/cache"));
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forCreates(node -> seen.add("created " + node.getPath()))
            .forChanges((before, after) -> seen.add("changed " + after.getPath()))
            .forDeletes(node -> seen.add("deleted " + node.getPath()))
            .forInitialized(filled::countDown).build());
        cache.start();
        Checks.isTrue(filled.await(WAIT_S, TimeUnit.SECONDS), "filled");
        Checks.equal(Checks.text(cache.get("/cache/a/b").get().getData()), "0");
        // One after the other: the cache reads what changed, and says nothing of what is gone by then.
        other.setData().forPath("/cache/a/b", Checks.bytes("1"));
        Checks.eventually("changed", () -> seen.size() == 4);
        other.create().forPath("/cache/c");
        Checks.eventually("created", () -> seen.size() == 5);
        other.delete().forPath("/cache/a/b");
        Checks.eventually("deleted", () -> seen.size() == 6);
        Checks.equal(seen.subList(3, 6), List.of("changed /cache/a/b", "created /cache/c", "deleted /cache/a/b"));
        // The cache stands on a persistent recursive watch: after a loss it has to find out what it missed.
        Checks.tell("block");
        other.setData().forPath("/cache/c", Checks.bytes("missed"));
        other.create().forPath("/cache/d", Checks.bytes("new"));
        Checks.tell("open");
        Checks.eventually("what was missed", () -> cache.get("/cache/d").isPresent()
            && Checks.text(cache.get("/cache/c").get().getData()).equals("missed"));
        return null;
    }

    private static Object olderCaches() throws Exception {
        CuratorFramework curator = client();
        curator.create().creatingParentsIfNeeded().forPath("/old/a", Checks.bytes("0"));
        PathChildrenCache children = Checks.closing(new PathChildrenCache(curator, "/old", true));
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        TreeCache tree = Checks.closing(new TreeCache(curator, "/old"));
        tree.start();
        Checks.equal(children.getCurrentData().size(), 1);
        curator.setData().forPath("/old/a", Checks.bytes("1"));
        curator.create().forPath("/old/b");
        Checks.eventually("children cache", () -> children.getCurrentData().size() == 2
            && Checks.text(children.getCurrentData("/old/a").getData()).equals("1"));
        Checks.eventually("tree cache", () -> {
            Map<String, ChildData> now = tree.getCurrentChildren("/old");
            return now != null && now.size() == 2 && Checks.text(now.get("a").getData()).equals("1");
        });
        curator.delete().forPath("/old/b");
        Checks.eventually("one less", () -> children.getCurrentData().size() == 1);
        return null;
    }

    private static Object persistentWatcher() throws Exception {
        CuratorFramework curator = proxied();
        CuratorFramework other = client();
        List<String> seen = new CopyOnWriteArrayList<>();
        other.create().forPath("/watcher");
        PersistentWatcher watcher = Checks.closing(new PersistentWatcher(curator, "/watcher", true));
        CountDownLatch set = new CountDownLatch(1);
        watcher.getResetListenable().addListener(set::countDown);
        watcher.getListenable().addListener(event -> {
            if (event.getType() != EventType.None) {
                seen.add(event.getType() + " " + event.getPath());
            }
        });
        watcher.start();
        Checks.isTrue(set.await(WAIT_S, TimeUnit.SECONDS), "watch is set");
        other.create().forPath("/watcher/a");
        Checks.eventually("before the cut", () -> seen.size() == 1);
        Checks.tell("cut");
        curator.sync().forPath("/watcher");
        curator.checkExists().forPath("/watcher");
        other.setData().forPath("/watcher/a", Checks.bytes("x"));
        Checks.eventually("after the cut", () -> seen.size() == 2);
        Checks.equal(seen, List.of("NodeCreated /watcher/a", "NodeDataChanged /watcher/a"));
        return null;
    }

    private static Object persistentNodes() throws Exception {
        CuratorFramework curator = client(Checks.PROXY, 2 * Checks.TICK_MS);
        CuratorFramework other = client();
        PersistentNode node =
            Checks.closing(new PersistentNode(curator, CreateMode.EPHEMERAL, false, "/lasting", Checks.bytes("x")));
        node.start();
        Checks.isTrue(node.waitForInitialCreate(WAIT_S, TimeUnit.SECONDS), "made");
        long first = other.checkExists().forPath("/lasting").getEphemeralOwner();
        other.delete().forPath("/lasting");
        Checks.eventually("made again", () -> other.checkExists().forPath("/lasting") != null);
        Checks.tell("block");
        Checks.eventually("expired", () -> other.checkExists().forPath("/lasting") == null);
        Checks.tell("open");
        Checks.eventually("made by the next session", () -> other.checkExists().forPath("/lasting") != null);
        Checks.isTrue(other.checkExists().forPath("/lasting").getEphemeralOwner() != first, "a new owner");
        PersistentTtlNode ttl =
            Checks.closing(new PersistentTtlNode(other, "/lasting-ttl", 1000, Checks.bytes("t")));
        ttl.start();
        Checks.isTrue(ttl.waitForInitialCreate(WAIT_S, TimeUnit.SECONDS), "made with a ttl");
        return null;
    }

    private static Object barriers() throws Exception {
        ExecutorService pool = pool();
        CuratorFramework one = client();
        CuratorFramework two = client();
        DistributedBarrier barrier = new DistributedBarrier(one, "/barrier");
        barrier.setBarrier();
        Future<Boolean> through = pool.submit(() -> new DistributedBarrier(two, "/barrier").waitOnBarrier(WAIT_S, TimeUnit.SECONDS));
        barrier.removeBarrier();
        Checks.equal(through.get(WAIT_S, TimeUnit.SECONDS), true);
        List<Future<Boolean>> members = new ArrayList<>();
        for (CuratorFramework curator : List.of(one, two)) {
            DistributedDoubleBarrier twice = new DistributedDoubleBarrier(curator, "/double", 2);
            members.add(pool.submit(() -> twice.enter(WAIT_S, TimeUnit.SECONDS) && twice.leave(WAIT_S, TimeUnit.SECONDS)));
        }
        for (Future<Boolean> member : members) {
            Checks.equal(member.get(WAIT_S * 2, TimeUnit.SECONDS), true);
        }
        return null;
    }

    private static Object counters() throws Exception {
        ExecutorService pool = pool();
        List<Future<?>> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            CuratorFramework curator = client();
            workers.add(pool.submit(() -> {
                DistributedAtomicLong counter = new DistributedAtomicLong(curator, "/counter", new RetryForever(10));
                for (int turn = 0; turn < 20; turn++) {
                    Checks.isTrue(counter.increment().succeeded(), "counted");
                }
                return null;
            }));
        }
        for (Future<?> worker : workers) {
            worker.get(WAIT_S * 2, TimeUnit.SECONDS);
        }
        CuratorFramework curator = client();
        Checks.equal(new DistributedAtomicLong(curator, "/counter", new RetryOneTime(10)).get().postValue(), 60L);
        SharedCount here = Checks.closing(new SharedCount(curator, "/shared", 1));
        SharedCount there = Checks.closing(new SharedCount(client(), "/shared", 1));
        here.start();
        there.start();
        here.setCount(5);
        Checks.eventually("seen by the other", () -> there.getCount() == 5);
        Checks.isTrue(there.trySetCount(there.getVersionedValue(), 6), "set from the value seen");
        return null;
    }

    private static Object queue() throws Exception {
        SimpleDistributedQueue producer = new SimpleDistributedQueue(client(), "/queue");
        SimpleDistributedQueue consumer = new SimpleDistributedQueue(client(), "/queue");
        for (int i = 0; i < 20; i++) {
            producer.offer(Checks.bytes("" + i));
        }
        for (int i = 0; i < 20; i++) {
            Checks.equal(Checks.text(consumer.poll(5, TimeUnit.SECONDS)), "" + i);
        }
        Checks.isTrue(consumer.poll() == null, "empty");
        return null;
    }

    private static Object groupMember() throws Exception {
        GroupMember one = Checks.closing(new GroupMember(client(), "/group", "one", Checks.bytes("1")));
        GroupMember two = Checks.closing(new GroupMember(client(), "/group", "two", Checks.bytes("2")));
        one.start();
        two.start();
        Checks.eventually("both", () -> one.getCurrentMembers().keySet().equals(Set.of("one", "two")));
        two.close();
        Checks.eventually("one left", () -> one.getCurrentMembers().keySet().equals(Set.of("one")));
        return null;
    }

    private static Object serviceDiscovery() throws Exception {
        Map<String, ServiceDiscovery<Void>> running = new ConcurrentHashMap<>();
        for (String name : List.of("a", "b")) {
            ServiceInstance<Void> instance =
                ServiceInstance.<Void>builder().name("web").id(name).address("127.0.0.1").port(80).build();
            ServiceDiscovery<Void> discovery = Checks.closing(ServiceDiscoveryBuilder.builder(Void.class)
                .client(client()).basePath("/services").thisInstance(instance).build());
            discovery.start();
            running.put(name, discovery);
        }
        ServiceDiscovery<Void> seeker =
            Checks.closing(ServiceDiscoveryBuilder.builder(Void.class).client(client()).basePath("/services").build());
        seeker.start();
        ServiceProvider<Void> provider = Checks.closing(seeker.serviceProviderBuilder().serviceName("web").build());
        provider.start();
        Checks.eventually("two instances", () -> provider.getAllInstances().size() == 2);
        running.get("a").close();
        Checks.eventually("one instance", () -> provider.getAllInstances().size() == 1);
        Checks.equal(provider.getInstance().getId(), "b");
        return null;
    }

    private static Object recipesGoOnAfterACrashOfTheServer() throws Exception {
        CuratorFramework curator = client();
        CuratorFramework other = client();
        InterProcessMutex mutex = new InterProcessMutex(curator, "/crash-mutex");
        mutex.acquire();
        LeaderLatch latch = Checks.closing(new LeaderLatch(other, "/crash-latch", "only"));
        latch.start();
        Checks.eventually("leads", latch::hasLeadership);
        CuratorCache cache = Checks.closing(CuratorCache.build(other, "/crash-cache"));
        cache.start();
        Checks.tell("restart");
        Checks.isTrue(!new InterProcessMutex(other, "/crash-mutex").acquire(200, TimeUnit.MILLISECONDS), "still held");
        mutex.release();
        Checks.isTrue(new InterProcessMutex(other, "/crash-mutex").acquire(WAIT_S, TimeUnit.SECONDS), "free");
        curator.create().forPath("/crash-cache");
        curator.create().forPath("/crash-cache/a", Checks.bytes("x"));
        Checks.eventually("cache", () -> cache.get("/crash-cache/a").isPresent());
        Checks.eventually("leads again", latch::hasLeadership);
        return null;
    }

    public static void main(String[] arguments) throws Exception {
        Checks.check("fluent-operations", CuratorChecks::fluentOperations);
        Checks.check("protected-create-survives-a-cut", CuratorChecks::protectedCreateSurvivesACut);
        Checks.check("background-operations", CuratorChecks::backgroundOperations);
        Checks.check("transactions", CuratorChecks::transactions);
        Checks.check("acls-and-namespaces", CuratorChecks::aclsAndNamespaces);
        Checks.check("connection-states", CuratorChecks::connectionStates);
        Checks.check("mutex", CuratorChecks::mutex);
        Checks.check("mutex-of-a-lost-session-is-free", CuratorChecks::mutexOfALostSessionIsFree);
        Checks.check("read-write-and-multi-locks", CuratorChecks::readWriteAndMultiLocks);
        Checks.check("semaphore", CuratorChecks::semaphore);
        Checks.check("leader-latch", CuratorChecks::leaderLatch);
        Checks.check("leader-selector", CuratorChecks::leaderSelector);
        Checks.check("curator-cache", CuratorChecks::curatorCache);
        Checks.check("older-caches", CuratorChecks::olderCaches);
        Checks.check("persistent-watcher", CuratorChecks::persistentWatcher);
        Checks.check("persistent-nodes", CuratorChecks::persistentNodes);
        Checks.check("barriers", CuratorChecks::barriers);
        Checks.check("counters", CuratorChecks::counters);
        Checks.check("queue", CuratorChecks::queue);
        Checks.check("group-member", CuratorChecks::groupMember);
        Checks.check("service-discovery", CuratorChecks::serviceDiscovery);
        Checks.check("recipes-go-on-after-a-crash-of-the-server", CuratorChecks::recipesGoOnAfterACrashOfTheServer);
        Checks.done();
    }
}
