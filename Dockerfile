# zabd in a container: docker build -t zabd . && docker run -p 2181:2181 -v zabd-data:/data zabd
# With a file of its own: docker run -v ./zoo.cfg:/conf/zoo.cfg:ro ... zabd start --config /conf/zoo.cfg

FROM node:20-bookworm-slim AS build
WORKDIR /build
# Dependencies first: they change less often than the sources. LevelDB comes compiled in its package,
# so no package needs to run a script of its own.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/bundle.mjs scripts/smoke.mjs ./scripts/
COPY bin ./bin
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:20-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/zabd
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist/zabd.* /build/dist/load-thread.js ./dist/
COPY bin ./bin
COPY config ./config
COPY LICENSE ./
RUN ln -s /opt/zabd/bin/zabd.js /usr/local/bin/zabd \
  && mkdir /data && chown node:node /data
USER node
# The data must outlive the container: mount a volume here.
VOLUME /data
# clients, other servers, HTTP commands, metrics
EXPOSE 2181 2888 8080 7000
# Healthy is a server that serves clients; a member without a quorum is not. For another port: --health-cmd.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["zabd", "status", "127.0.0.1:2181"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["zabd"]
# Inside a container every address is the container's own; -p decides who reaches it.
CMD ["start", "--data", "/data", "--client-host", "0.0.0.0", "--admin-host", "0.0.0.0"]
