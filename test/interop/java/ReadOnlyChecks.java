import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/** The original Java client and Curator at a server that is left without a quorum and serves reads. */
final class ReadOnlyChecks {
    private static final int TIMEOUT_MS = 4 * Checks.TICK_MS;
    private static final String FIRST = Checks.SERVER.split(",")[0];

    private ReadOnlyChecks() {}

    private static Object clientThatMayReadOnly() throws Exception {
        ClientChecks.create(ClientChecks.connect(Checks.SERVER, TIMEOUT_MS, new ClientChecks.Events()), "/java");
        ClientChecks.Events events = new ClientChecks.Events();
        ZooKeeper before = ClientChecks.connect(FIRST, TIMEOUT_MS, new ClientChecks.Events());
        before.exists("/java", false);
        Checks.tell("leave 1");
        ZooKeeper zk = Checks.closing(new ZooKeeper(Checks.SERVER, TIMEOUT_MS, events, true));
        events.awaitState(KeeperState.ConnectedReadOnly);
        Checks.equal(zk.getState(), ZooKeeper.States.CONNECTEDREADONLY);
        Checks.equal(Checks.text(zk.getData("/java", events, null)), "data");
        Checks.isTrue(zk.exists("/none", false) == null, "reads tell what is not there");
        Checks.raises(KeeperException.NotReadOnlyException.class, () -> zk.setData("/java", null, -1));
        Checks.raises(KeeperException.NotReadOnlyException.class, () -> ClientChecks.create(zk, "/java/kid"));
        Checks.isTrue(!before.getState().isConnected(), "a client that has to write is not served");
        Checks.tell("start");
        events.awaitState(KeeperState.SyncConnected);
        ClientChecks.retry(() -> zk.setData("/java", Checks.bytes("again"), -1));
        return null;
    }

    private static Object curatorThatMayReadOnly() throws Exception {
        ClientChecks.create(ClientChecks.connect(Checks.SERVER, TIMEOUT_MS, new ClientChecks.Events()), "/curator");
        Checks.tell("leave 1");
        CuratorFramework curator = Checks.closing(CuratorFrameworkFactory.builder()
            .connectString(Checks.SERVER).sessionTimeoutMs(TIMEOUT_MS).connectionTimeoutMs(10_000)
            .retryPolicy(new RetryOneTime(100)).canBeReadOnly(true).build());
        List<ConnectionState> states = new CopyOnWriteArrayList<>();
        curator.getConnectionStateListenable().addListener((client, state) -> states.add(state));
        curator.start();
        Checks.isTrue(curator.blockUntilConnected(20, TimeUnit.SECONDS), "connected");
        Checks.eventually("told so", () -> states.contains(ConnectionState.READ_ONLY));
        Checks.equal(Checks.text(curator.getData().forPath("/curator")), "data");
        Checks.raises(KeeperException.NotReadOnlyException.class, () -> curator.create().forPath("/curator/kid"));
        Checks.tell("start");
        Checks.eventually("writable", () -> {
            try {
                return "/curator/kid".equals(curator.create().forPath("/curator/kid"));
            } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException e) {
                return false;
            }
        });
        return "told " + states;
    }

    public static void main(String[] arguments) throws Exception {
        Checks.check("java-client-that-may-read-only", ReadOnlyChecks::clientThatMayReadOnly);
        Checks.check("curator-that-may-read-only", ReadOnlyChecks::curatorThatMayReadOnly);
        Checks.done();
    }
}
