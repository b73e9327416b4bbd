import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

/** Receives 2,000 notifications of 64 KiB from a Greeter server, with grpc-java's defaults: Pushes HOST:PORT. */
public final class Pushes {
  private static final int COUNT = 2000;
  private static final int BYTES = 65_536;
  private static final int TIMEOUT_S = 20;

  /** SubscribeRequest { count: 2000, interval: {} }: the fields 1 and 2 of greeter.proto. */
  private static final byte[] REQUEST = {0x08, (byte) 0xd0, 0x0f, 0x12, 0x00};

  private static final MethodDescriptor<byte[], byte[]> SUBSCRIBE =
      MethodDescriptor.<byte[], byte[]>newBuilder()
          .setType(MethodDescriptor.MethodType.SERVER_STREAMING)
          .setFullMethodName("example.Greeter/Subscribe")
          .setRequestMarshaller(new AsItIs())
          .setResponseMarshaller(new AsItIs())
          .build();

  private Pushes() {}

  public static void main(String[] args) {
    ManagedChannel channel = ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build();
    Metadata headers = new Metadata();
    headers.put(
        Metadata.Key.of("x-bytes", Metadata.ASCII_STRING_MARSHALLER), Integer.toString(BYTES));
    Channel withHeaders =
        ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
    Iterator<byte[]> pushes =
        ClientCalls.blockingServerStreamingCall(withHeaders, SUBSCRIBE, options, REQUEST);
    int count = 0;
    while (pushes.hasNext()) {
      int length = pushes.next().length;
      count++;
      if (length < BYTES) throw new AssertionError("push " + count + " has " + length + " B");
    }
    if (count != COUNT) throw new AssertionError(count + " pushes came, not " + COUNT);
    channel.shutdown();
  }

  /** Leaves messages encoded. */
  private static final class AsItIs implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
    }

    @Override
    public byte[] parse(InputStream bytes) {
      try {
        return bytes.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
